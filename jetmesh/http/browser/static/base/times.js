// Times: the server writes them in UTC, the page says them in the viewer's zone, with UTC under the pointer.

const clock = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const exact = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** The name of the viewer's zone. */
export const zone = clock.resolvedOptions().timeZone;

/** A time in words. */
export const said = (ms) => clock.format(new Date(ms));

/**
 * Every time within a part of the page. One with `data-after` goes on saying how long after the first it is, and has
 * its time under the pointer; an SVG text with `data-minute` says hour and minute.
 */
export function localize(within = document) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    if (!time.hasAttribute("data-after")) time.textContent = clock.format(at);
    else if (!time.title.includes(" · ")) time.title = `${exact.format(at)} · ${time.title}`;
  }
  for (const text of within.querySelectorAll("[data-minute]")) text.textContent = minute.format(new Date(text.dataset.minute));
}
