// What makes the shop's pages live. Without it they are the same pages, as they were when they were loaded.

import { morph } from "../base/morph.js";
import { follow } from "../base/stream.js";
import { localize } from "../base/times.js";

const SAYS = {
  connecting: ["", "connecting"],
  open: ["good", "live"],
  away: ["warn", "the mesh is away"],
  lost: ["warn", "connection lost, trying again"],
  ended: ["", "complete"],
};

let stop = () => {};

function say(state) {
  const pill = document.getElementById("liveness");
  if (!pill) return;
  const [tone, words] = SAYS[state];
  pill.hidden = false;
  pill.className = `pill live ${tone}`;
  pill.textContent = words;
}

/** Follow what the page shows, while it is seen: nothing is read for a tab in the background. */
function watch() {
  stop();
  const part = document.querySelector("[data-live]");
  if (!part || document.hidden) return;
  const take = part.matches(".menu") ? takeStock : ({ html }) => {
    morph(part, html);
    localize(part);
    say(document.getElementById("trouble") ? "away" : "open");
  };
  stop = follow(part.dataset.live, { page: take }, say);
}

function takeStock({ html }) {
  const levels = document.createElement("template");
  levels.innerHTML = html;
  for (const level of levels.content.children) {
    const here = document.getElementById(level.id);
    if (here) morph(here, level.innerHTML);
  }
}

/** A form that changes the page it is on: the page that follows takes its place, and the focus stays where it is. */
async function sendSmoothly(event) {
  const form = event.target;
  if (!form.matches("[data-smooth]")) return;
  event.preventDefault();
  const focused = document.activeElement?.id;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const live = document.querySelector("[data-live]");
    morph(document.getElementById("main"), page.getElementById("main").innerHTML);
    (document.getElementById(focused) ?? document.getElementById("basket-title"))?.focus({ preventScroll: true });
    if (live !== document.querySelector("[data-live]")) watch();
  } catch {
    form.submit();
  }
}

/** Sent twice it is one order, by its key; a second click need not even be sent. */
function sendOnce(event) {
  if (event.target.matches("[data-smooth]") || event.defaultPrevented) return;
  const button = event.target.querySelector("button:not([type])");
  if (button) setTimeout(() => { button.disabled = true; });
}

addEventListener("submit", sendSmoothly);
addEventListener("submit", sendOnce);
addEventListener("visibilitychange", watch);
// A page that comes back from the browser's memory has to look again.
addEventListener("pageshow", (event) => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
  if (event.persisted) watch();
});
addEventListener("pagehide", () => stop());
localize();
watch();
