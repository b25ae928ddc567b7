/**
 * How does a page hear of changes? `<body data-live="overview servers">` names topics; each change comes as an event
 * `gateway:<topic>` on document, with detail {changed: {id: row}, gone: [id], first}.
 *
 * A browser opens six connections to a host: all its pages share one stream, kept by a shared worker. Where there is no
 * shared worker each visible page has its own. Hidden pages hear nothing, and get everything anew when they are seen.
 * Each sign-in has a worker of its own (`data-seer`): nobody is told what another may see.
 */

import {setText} from "./base.js";

const topics = (document.body.dataset.live ?? "").split(/\s+/).filter(Boolean);
const seer = document.body.dataset.seer ?? "";
const workerUrl = document.querySelector("script[data-worker]")?.dataset.worker;

function hand(topic, data) {
  document.dispatchEvent(new CustomEvent(`gateway:${topic}`, {detail: data}));
}

const PATIENCE_MS = 4000;
const AGAIN_MS = 5000;
let doubt = 0;

/** Say below whether the page is live; where it has not been for a while, say so where nobody misses it. */
function say(state) {
  const stale = document.querySelector("[data-stale]");
  if (state === "live") {
    clearTimeout(doubt);
    doubt = 0;
    stale.hidden = true;
  } else {
    doubt ||= setTimeout(() => { stale.hidden = false; }, PATIENCE_MS);
  }
  setText(document.querySelector("[data-live-state]"), `· ${state}`);
}

/** A stream of this page's own, while it is seen. */
function ownStream() {
  let source = null;
  const follow = () => {
    if (source?.readyState === EventSource.CLOSED) source = null;
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      source = new EventSource(`/ui/live?topics=${encodeURIComponent(topics.join(","))}&seer=${encodeURIComponent(seer)}`);
      source.onopen = () => say("live");
      source.onerror = () => {
        say("connecting again");
        if (source?.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_MS); // refused: it does not try again itself
      };
      for (const topic of topics) {
        source.addEventListener(topic, (event) => hand(topic, JSON.parse(event.data)));
      }
    }
  };
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", follow);
  follow();
}

/** The stream that all pages of this browser share. */
function sharedStream() {
  const worker = new SharedWorker(workerUrl, {name: `multiverse-live-${seer}`});
  const port = worker.port;
  port.onmessage = ({data}) => {
    if (data.state) say(data.state);
    else if (topics.includes(data.topic)) hand(data.topic, data.detail);
  };
  port.start();
  const follow = () => port.postMessage({topics: document.hidden ? [] : topics});
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", () => port.postMessage({topics: []}));
  addEventListener("pageshow", follow);
  setInterval(() => port.postMessage({here: true}), 20000); // a page that crashed says no more that it is here
  follow();
}

if (topics.length > 0) {
  if ("SharedWorker" in globalThis && workerUrl) sharedStream();
  else ownStream();
}
