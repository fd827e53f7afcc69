// Before the page is drawn: the theme that the viewer chose.
try {
  const chosen = localStorage.getItem("jetmesh-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* storage is off: the system's theme */ }
document.documentElement.classList.add("script");
