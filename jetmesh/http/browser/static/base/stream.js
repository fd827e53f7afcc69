// A stream of server-sent events that recovers by itself.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;

/**
 * Server-sent events of `url` until `stop()` or an event `end`; at an event `renew` they are asked for anew. `on` maps
 * the name of an event to what takes its data.
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
    source.addEventListener("renew", open);
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
