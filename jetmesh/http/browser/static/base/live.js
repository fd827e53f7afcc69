// What live pages are made of: Preact with htm and signals, and a stream of events that recovers by itself.

import htm from "../vendor/htm.js";
import { h } from "../vendor/preact.js";

export { render } from "../vendor/preact.js";
export { useEffect, useRef, useState } from "../vendor/hooks.js";
export { follow } from "./stream.js";
export { batch, computed, effect, signal } from "../vendor/signals.js";

export const html = htm.bind(h);

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
