// What live pages are made of: Preact with htm and signals, and a stream of events that recovers by itself.

import htm from "../vendor/htm.js";
import { h } from "../vendor/preact.js";

export { render } from "../vendor/preact.js";
export { useEffect, useRef, useState } from "../vendor/hooks.js";
export { batch, computed, effect, signal } from "../vendor/signals.js";

export const html = htm.bind(h);

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;

/**
 * Server-sent events of `url` until `stop()` or an event `end`. `on` maps the name of an event to what takes its data.
 * `onState` hears "connecting", "open", "lost" and "ended". A browser gives up for good where a server answers with an
 * error or is away: this asks again, sooner at first, with the id of the last event.
 */
export function follow(url, on, onState = () => {}) {
  let source;
  let pause = FIRST_PAUSE_MS;
  let timer;
  let lastId = "";

  function open() {
    clearTimeout(timer);
    source?.close();
    const from = new URL(url, location.href);
    if (lastId) from.searchParams.set("last_event_id", lastId);
    source = new EventSource(from);
    source.onopen = () => {
      pause = FIRST_PAUSE_MS;
      onState("open");
    };
    source.onerror = () => {
      source.close();
      onState("lost");
      timer = setTimeout(open, pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    };
    for (const [name, take] of Object.entries(on)) {
      source.addEventListener(name, (event) => {
        lastId = event.lastEventId;
        take(JSON.parse(event.data));
      });
    }
    source.addEventListener("end", () => {
      stop();
      onState("ended");
    });
  }

  function onOnline() {
    if (source.readyState !== EventSource.OPEN) open();
  }

  function stop() {
    clearTimeout(timer);
    source.close();
    removeEventListener("online", onOnline);
  }

  onState("connecting");
  addEventListener("online", onOnline);
  open();
  return stop;
}

/** A duration with about three digits in a fitting unit, as `jetmesh story` prints it. */
export function duration(ms) {
  if (ms < 99.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  const minutes = seconds / 60;
  return minutes < 120 ? `${Math.round(minutes)} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** The time in the zone of who looks, with UTC for a `title`. */
export function clock(iso) {
  const at = new Date(iso);
  return { local: at.toLocaleTimeString(undefined, { hour12: false }), utc: at.toISOString().replace("T", " ").replace("Z", " UTC") };
}

/** Text of others, shown whole: what would not be seen, or would turn its surroundings round, is written as its code. */
export function visible(text) {
  return String(text).replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`,
  );
}
