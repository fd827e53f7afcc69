// What the browser adds to pages that work without it: figures that follow, times of the viewer's zone, keys.

import { follow as listen } from "../base/stream.js";
import { localize, said, zone } from "../base/times.js";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

const footer = document.getElementById("zone");
if (footer) footer.textContent = zone === "UTC" ? "Times are in UTC." : `Times are in ${zone}; in UTC under the pointer.`;

// Tables: where they have no room for their columns, each cell says which one it is of.
function nameCells(within = document) {
  for (const row of all("table.rows tbody tr", within)) {
    const table = row.closest("table"), columns = all("thead th", table);
    table.classList.add("named");
    if (row.cells.length === columns.length) columns.forEach((column, at) => nameCell(row.cells[at], column.textContent.trim()));
  }
}
function nameCell(cell, name) {
  cell.dataset.column = name;
  cell.toggleAttribute("data-blank", !cell.textContent.trim() && !cell.querySelector("svg, input, button"));
}
function prepare(within = document) {
  localize(within);
  nameCells(within);
}

// A time that is chosen is one of the viewer's zone; it is sent in UTC, as the server reads it where no script runs.
for (const place of document.querySelectorAll("[data-zone]")) place.textContent = zone;
document.addEventListener("formdata", ({ target, formData }) => {
  for (const { name, value } of all("input[type=datetime-local]", target)) {
    if (value) formData.set(name, new Date(value).toISOString());
  }
});

// Figures: each place names its reaction and its cell.
function collect(attribute) {
  const places = new Map();
  for (const place of all(`[${attribute}]`)) {
    const name = place.getAttribute(attribute);
    places.set(name, [...(places.get(name) ?? []), place]);
  }
  return places;
}
function say(places, name, words) {
  for (const place of places.get(name) ?? []) if (place.textContent !== words) place.textContent = words;
}
function followMesh(address) {
  const cells = collect("data-cell"), totals = collect("data-total"), reactions = collect("data-reaction");
  const warnings = document.getElementById("warnings"), link = document.getElementById("link-state");
  function show(news) {
    for (const [reaction, figures] of Object.entries(news.cells ?? {})) {
      for (const [cell, words] of Object.entries(figures)) say(cells, `${reaction}|${cell}`, words);
      for (const place of reactions.get(reaction) ?? []) place.dataset.state = figures.state;
    }
    for (const [name, words] of Object.entries(news.totals ?? {})) say(totals, name, words);
    if (news.warnings && warnings) {
      warnings.replaceChildren(...news.warnings.map((words) => Object.assign(document.createElement("p"), { textContent: words })));
    }
    if (news.trouble !== undefined) state(news.trouble ? "broker away" : "live", news.trouble);
  }
  let held = Boolean(document.body.dataset.held);
  function state(words, why = "", kind = words === "live" ? "good" : "bad") {
    link.textContent = words;
    link.title = why;
    link.dataset.state = kind;
    document.body.classList.toggle("stale", kind === "bad");
  }
  const hear = (news) => {
    if (!held) show(news);
    else if (news.trouble !== undefined) state(news.trouble ? "broker away" : "live", news.trouble);
  };
  // No room for one more live page: the figures of now are shown, and again after a while.
  function crowded({ seconds, words }) {
    end();
    if (link.dataset.state === "good") state(`every ${seconds} s`, words, "waits");
    timer = setTimeout(start, seconds * 1000);
  }
  async function lost() {
    state("no connection", "The console does not answer; the page goes on when it does.");
    const asking = new AbortController();
    try {
      const answer = await fetch(address, { redirect: "manual", signal: asking.signal });
      if (answer.type !== "opaqueredirect" && answer.status !== 401) return;
      end();
      state("logged out", "Your session is over: load the page again to log in.");
    } catch { /* it asks again by itself */ } finally {
      asking.abort();
    }
  }
  let stop = () => {}, timer;
  function start() {
    end();
    stop = listen(address, { mesh: hear, crowded }, (now) => {
      if (now === "open") state("live");
      if (now === "lost") lost();
    });
  }
  function end() {
    clearTimeout(timer);
    stop();
  }
  start();
  document.addEventListener("visibilitychange", () => document.hidden ? end() : start());
  return { show, hold: () => { held = true; } };
}

// Rewinding: the address names the time that is shown; without one the page is live.
const STEP_MS = 10_000, MINUTE_MS = 60_000, SPAN_MS = 900_000, ASK_MS = 100, RENEW_MS = 30_000;
function rewinding(mesh) {
  const part = document.getElementById("rewind");
  if (!part) return;
  const slider = part.querySelector("#back"), title = part.querySelector("h2");
  const ahead = part.dataset.now * 1000 - Date.now();
  const now = () => Date.now() + ahead;
  const named = (ms) => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
  let moment = Date.parse(new URL(location.href).searchParams.get("at") ?? "") || 0, timer, asked = 0;
  const live = () => { location.href = part.querySelector("#go-live").href; };
  function to(ms) {
    if (ms >= now() - 1000) { live(); return; }
    moment = Math.max(ms, now() - SPAN_MS);
    mesh.hold();
    title.replaceChildren("At ", Object.assign(document.createElement("time"), { dateTime: named(moment), title: named(moment), textContent: said(moment) }));
    slider.value = Math.round((moment - now()) / 1000);
    mark();
    clearTimeout(timer);
    timer = setTimeout(ask, ASK_MS);
  }
  async function ask() {
    const mine = ++asked, at = named(moment);
    history.replaceState(null, "", `${location.pathname}?at=${encodeURIComponent(at)}`);
    try {
      const answer = await fetch(`${part.dataset.at}?at=${encodeURIComponent(at)}`);
      const told = await answer.json();
      if (mine !== asked) return;
      mesh.show(told);
      document.getElementById("rewind-words").textContent = told.words;
      document.getElementById("recorded").textContent = Object.entries(told.recorded).map(([name, count]) => `${name} ${count.toLocaleString("en")}`).join(", ") || "nothing is known";
    } catch { /* the console is away: the page says it */ }
  }
  // What the server marks on a page of that time.
  function mark() {
    part.querySelector("#go-live").classList.add("first");
    for (const minute of all("#minutes a", part)) {
      const at = Date.parse(new URL(minute.href.baseVal, location.href).searchParams.get("at"));
      minute.classList.toggle("here", Math.floor(at / MINUTE_MS) === Math.floor(moment / MINUTE_MS));
    }
  }
  const by = (ms) => to((moment || now()) + ms);
  slider.addEventListener("input", () => to(now() + slider.value * 1000));
  part.addEventListener("click", (event) => {
    const step = event.target.closest("[data-step]")?.dataset.step;
    if (!step) return;
    event.preventDefault();
    by((step.startsWith("−") ? -1 : 1) * (step.endsWith("min") ? MINUTE_MS : STEP_MS));
  });
  setInterval(async () => {
    if (document.hidden || part.querySelector("#minutes").contains(document.activeElement)) return;
    try {
      const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
      const fresh = page.getElementById("minutes");
      if (!fresh) return;
      part.querySelector("#minutes").replaceWith(fresh);
      if (moment) mark();
      else part.querySelector("#recorded").replaceWith(page.getElementById("recorded"));
      localize(fresh.parentNode);
    } catch { /* the console is away */ }
  }, RENEW_MS);
  return { by, live };
}

// The picture: a box shows its neighbours.
function neighbours() {
  const picture = document.querySelector("svg.flow");
  if (!picture) return;
  const arrows = all("path.arrow", picture);
  const boxes = collect("data-box");
  const mark = (id) => {
    picture.classList.toggle("looking", Boolean(id));
    for (const box of all("[data-box]", picture)) box.classList.toggle("near", box.dataset.box === id);
    for (const arrow of arrows) {
      const { first, last } = arrow.dataset;
      const near = Boolean(id) && (first === id || last === id);
      arrow.classList.toggle("near", near);
      if (near) for (const other of [first, last]) for (const box of boxes.get(other) ?? []) box.classList.add("near");
    }
  };
  for (const box of all("[data-box]", picture)) {
    box.addEventListener("pointerenter", () => mark(box.dataset.box));
    box.addEventListener("pointerleave", () => mark(""));
    box.addEventListener("focus", () => mark(box.dataset.box));
    box.addEventListener("blur", () => mark(""));
  }
}

// A part of a page that is fetched again while what it shows goes on.
function refresh() {
  for (const part of all("[data-refresh]")) {
    const again = async () => {
      if (!part.isConnected || !part.dataset.refresh) return;
      const focused = part.contains(document.activeElement) ? document.activeElement : undefined;
      if (!document.hidden && (!focused || (focused.id && focused.matches("button")))) {
        try {
          const answer = await fetch(location.href, { headers: { accept: "text/html" } });
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById(part.id);
          if (fresh) {
            part.replaceChildren(...fresh.childNodes);
            part.dataset.refresh = fresh.dataset.refresh ?? "";
            prepare(part);
            if (focused) (document.getElementById(focused.id) ?? part.querySelector("button"))?.focus();
          }
        } catch { /* the console is away: ask again */ }
      }
      setTimeout(again, 1000);
    };
    setTimeout(again, 1000);
  }
}

// A search that goes on by itself, until all was looked at or it is stopped.
const ROWS_MAX = 1000;
function lookOn() {
  const found = document.getElementById("found");
  const next = () => found?.querySelector('a[rel="next"]');
  if (!next()) return;
  const button = element("button", { type: "button", id: "look-on", className: "button" }, "Look at all");
  found.querySelector("nav.pages").append(button);
  let goesOn = false;
  button.addEventListener("click", async () => {
    goesOn = !goesOn;
    button.textContent = goesOn ? "Stop" : "Look at all";
    while (goesOn && next()) {
      try {
        const answer = await fetch(next().href);
        take(new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("found"));
      } catch {
        goesOn = false; // the console is away: the button goes on from here
        button.textContent = "Look at all";
      }
      if (all("tbody tr", found).length >= ROWS_MAX) button.click();
    }
    if (!next()) button.remove();
  });
  function take(fresh) {
    const rows = all("tbody tr", fresh), body = found.querySelector("tbody");
    if (body) body.append(...rows);
    else found.querySelector(".empty").replaceWith(fresh.querySelector(".scroll, .empty"));
    document.getElementById("looked").replaceChildren(...fresh.querySelector("#looked").childNodes);
    document.getElementById("fits").textContent = all("tbody tr", found).length.toLocaleString("en");
    const following = fresh.querySelector('a[rel="next"]');
    if (following) next().href = following.href;
    else next().remove();
    prepare(found);
  }
}

// Searches and filters that are kept under a name, in this browser; each is an address.
function keep() {
  for (const form of all("form[data-saved]")) {
    const place = `jetmesh-saved-${form.dataset.saved}`;
    const known = () => { try { return JSON.parse(localStorage.getItem(place)) ?? {}; } catch { return {}; } };
    const store = (named) => { try { localStorage.setItem(place, JSON.stringify(named)); } catch { /* nothing is kept */ } show(); };
    const list = element("ul", {});
    const name = element("input", { id: "save-name", maxLength: 60, autocomplete: "off" });
    const button = element("button", { type: "submit", id: "save", className: "button" }, "Keep in this browser");
    const asking = element("form", { className: "filters" }, element("label", {}, "Name for these fields ", name), button);
    form.after(element("div", { className: "saved" }, list, asking));
    asking.addEventListener("submit", (event) => {
      event.preventDefault();
      const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
      if (name.value.trim()) store({ ...known(), [name.value.trim()]: String(query) });
      name.value = "";
    });
    function show() {
      list.replaceChildren(...Object.entries(known()).map(([title, query]) => {
        const forget = element("button", { type: "button", className: "button quiet" }, "×");
        forget.setAttribute("aria-label", `Forget ${title}`);
        forget.addEventListener("click", () => { const { [title]: _, ...rest } = known(); store(rest); });
        return element("li", {}, element("a", { href: `?${query}` }, title), forget);
      }));
    }
    show();
  }
}
function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Keys.
const dialog = document.getElementById("keys");
function step(by) {
  const rows = all("a.row");
  if (!rows.length) return;
  const here = rows.indexOf(document.activeElement);
  rows[Math.max(0, Math.min(rows.length - 1, here + by))].focus();
}
function follow(selector) {
  document.querySelector(selector)?.click();
}
let going = -Infinity;
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.matches("input:not([type=range]), textarea, select")) event.target.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=range]), textarea, select")) return;
  if (performance.now() - going < 1500) {
    going = -Infinity;
    const target = all("nav a[data-key]").find((link) => link.dataset.key === event.key);
    if (target) { event.preventDefault(); target.click(); }
    return;
  }
  const acts = {
    "?": () => dialog.open ? dialog.close() : dialog.showModal(),
    "/": () => document.getElementById("search")?.focus(),
    g: () => { going = performance.now(); },
    j: () => step(1),
    k: () => step(-1),
    "[": () => rewind?.by(-STEP_MS),
    "]": () => rewind?.by(STEP_MS),
    0: () => rewind?.live(),
    n: () => follow('a[rel="next"]'),
    p: () => follow('a[rel="prev"]'),
    u: () => follow('a[rel="up"]'),
    t: () => follow("#theme"),
  };
  if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
});
document.getElementById("help")?.addEventListener("click", () => dialog.showModal());

prepare();
neighbours();
refresh();
lookOn();
keep();
const mesh = document.body.dataset.live ? followMesh(document.body.dataset.live) : undefined;
const rewind = mesh && rewinding(mesh);
