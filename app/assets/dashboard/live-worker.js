/**
 * How do all pages of a browser share one stream? Each tells the topics it wants while it is seen; the worker listens to
 * all of them together, keeps the rows that it heard, and gives a page that comes later what is there.
 */

const SILENT_MS = 60000;
const AGAIN_MS = 5000;
const seer = name.replace("multiverse-live-", ""); // whose pages these are: the server tells nobody else's browser
const pages = new Map(); // port -> {topics: Set, heard: milliseconds}
const rows = new Map(); // topic -> Map(id -> row)
let source = null;
let wanted = "";
let state = "connecting";

function post(port, message) {
  port.postMessage(message);
}

function sayState(next) {
  state = next;
  for (const [port, page] of pages) if (page.topics.size > 0) post(port, {state});
}

function take(topic, data) {
  if (data.first || !rows.has(topic)) rows.set(topic, new Map());
  const known = rows.get(topic);
  for (const [id, row] of Object.entries(data.changed)) known.set(id, row);
  for (const id of data.gone) known.delete(id);
  for (const [port, page] of pages) if (page.topics.has(topic)) post(port, {topic, detail: data});
}

/** Open the stream anew where the pages want other topics than it has. */
function follow() {
  const union = new Set();
  for (const page of pages.values()) for (const topic of page.topics) union.add(topic);
  const next = [...union].sort().join(",");
  if (next === wanted && (source === null) === (next === "")) return;
  wanted = next;
  source?.close();
  source = null;
  for (const topic of rows.keys()) if (!union.has(topic)) rows.delete(topic);
  if (next === "") return;
  source = new EventSource(`/ui/live?topics=${encodeURIComponent(next)}&seer=${encodeURIComponent(seer)}`);
  source.onopen = () => sayState("live");
  source.onerror = () => {
    sayState("connecting again");
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null; // refused, as while the gateway starts or once the sign-in has ended: it does not try again itself
    wanted = "";
    rows.clear();
    setTimeout(follow, AGAIN_MS);
  };
  for (const topic of union) source.addEventListener(topic, (event) => take(topic, JSON.parse(event.data)));
}

function onMessage(port, data) {
  const page = pages.get(port) ?? {topics: new Set(), heard: 0};
  page.heard = Date.now();
  pages.set(port, page);
  if (!data.topics) return;
  const added = data.topics.filter((topic) => !page.topics.has(topic));
  page.topics = new Set(data.topics);
  follow();
  if (page.topics.size > 0) post(port, {state});
  for (const topic of added) {
    const known = rows.get(topic);
    if (known) post(port, {topic, detail: {changed: Object.fromEntries(known), gone: [], first: true}});
  }
}

onconnect = ({ports: [port]}) => {
  port.onmessage = ({data}) => onMessage(port, data);
  port.start();
};

setInterval(() => {
  const now = Date.now();
  for (const [port, page] of pages) if (now - page.heard > SILENT_MS) pages.delete(port);
  follow();
}, SILENT_MS / 2);
