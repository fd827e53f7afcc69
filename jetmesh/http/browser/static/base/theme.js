// The theme that the viewer chose: the system's, light or dark. A classic script in the head, so that no page is painted
// in another one first; a button with the id "theme" goes from one to the next.

(() => {
  const THEMES = ["system", "light", "dark"];
  const PLACE = "jetmesh-theme";

  function chosen() {
    try {
      return THEMES.includes(localStorage.getItem(PLACE)) ? localStorage.getItem(PLACE) : "system";
    } catch {
      return "system"; // the browser keeps nothing for this site
    }
  }
  function apply(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    button.textContent = { system: "◐", light: "☀", dark: "☾" }[theme];
    button.title = `Theme: ${theme}`;
    button.setAttribute("aria-label", button.title);
  }
  function next() {
    now = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    try {
      localStorage.setItem(PLACE, now);
    } catch { /* it holds for this page alone */ }
    apply(now);
  }
  let now = chosen();
  apply(now);
  document.addEventListener("DOMContentLoaded", () => {
    apply(now);
    document.getElementById("theme")?.addEventListener("click", next);
  });
  addEventListener("storage", (event) => { if (event.key === PLACE) apply(now = chosen()); });
})();
