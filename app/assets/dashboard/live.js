/**
 * How does a page hear of changes? `<body data-live="overview servers">` names topics; each change comes as an event
 * `gateway:<topic>` on document, with detail {changed: {id: row}, gone: [id], first}.
 *
 * A browser opens six connections to a host: all its pages share one stream, kept by a shared worker. Where there is no
 * shared worker each visible page has its own. Hidden pages hear nothing, and get everything anew when they are seen; so
 * do pages that somebody made stand still (`data-still` on body), which charts heed too.
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
  const isStill = "still" in document.body.dataset;
  if (state === "live" || isStill) {
    clearTimeout(doubt);
    doubt = 0;
    stale.hidden = true;
  } else {
    doubt ||= setTimeout(() => { stale.hidden = false; }, PATIENCE_MS);
  }
  setText(document.querySelector("[data-live-state]"), `· ${isStill ? "updates paused" : state}`);
}

const stillButton = document.getElementById("follow") ? null : document.querySelector("[data-live-still]"); // Activity has its own

/** Whether nothing is to be told: nobody sees the page, or whoever does wants it to stand still. */
function isAtRest() {
  return document.hidden || "still" in document.body.dataset;
}

/** Let the page stand still or go on, and say so. */
function setStill(isStill) {
  document.body.toggleAttribute("data-still", isStill);
  setText(stillButton, isStill ? "Resume updates" : "Pause updates");
  say("connecting");
  document.dispatchEvent(new CustomEvent("gateway:still"));
}

/** Follow what is asked for by `follow`, whenever that may have changed. */
function heed(follow) {
  for (const name of ["visibilitychange", "gateway:still"]) document.addEventListener(name, follow);
  addEventListener("pageshow", follow);
  follow();
}

/** A stream of this page's own, while it is seen. */
function ownStream() {
  let source = null;
  const follow = () => {
    if (source?.readyState === EventSource.CLOSED) source = null;
    if (isAtRest()) {
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
  addEventListener("pagehide", () => { source?.close(); source = null; });
  heed(follow);
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
  addEventListener("pagehide", () => port.postMessage({topics: []}));
  setInterval(() => port.postMessage({here: true}), 20000); // a page that crashed says no more that it is here
  heed(() => port.postMessage({topics: isAtRest() ? [] : topics}));
}

if (topics.length > 0) {
  if (stillButton) {
    stillButton.hidden = false;
    stillButton.addEventListener("click", () => setStill(!("still" in document.body.dataset)));
  }
  if ("SharedWorker" in globalThis && workerUrl) sharedStream();
  else ownStream();
}
