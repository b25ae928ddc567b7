/**
 * How does the list of servers stay true? Rows are changed where they stand, by text and attributes alone: the place, the
 * focus and an open menu are kept. Who joins or goes is told. Actions of the menu are done without leaving the page.
 */

import {setMoment, setText, tell} from "./base.js";

const FRAME_MS = 6; // of 16: the rest of a frame is the browser's
const LONG_LIST = 75; // the gateway looks after so many servers a second; of longer lists it is told what is in view
const VIEW_PAUSE_MS = 400;
const PAGE_NAME = Math.random().toString(36).slice(2); // tells this page from others of the same visitor

const rows = new Map(); // id -> {row, shown, parts}
const waiting = new Map(); // id -> what is to be shown of it, at the next frame
let known = null; // the ids of all servers, as far as was told
let joined = new Set();
let gone = 0;
let isPlanned = false;
let observer = null;
const inView = new Set();
let viewTimer = 0;

function list() {
  return document.getElementById("server-list");
}

/** Find the rows of the list as it is now; what was known of them is forgotten. */
function index() {
  rows.clear();
  waiting.clear();
  observer?.disconnect();
  inView.clear();
  for (const row of document.querySelectorAll("#server-list tr[data-server-id]")) {
    rows.set(row.dataset.serverId, {row, shown: null, parts: null});
  }
  for (const button of document.querySelectorAll("#server-list [popovertarget]")) button.hidden = false;
  follow();
}

/** The places of a row that change; looked up when it first does. */
function partsOf(entry) {
  if (entry.parts === null) {
    const find = (selector) => entry.row.querySelector(selector);
    entry.parts = {
      badge: find(".state"), word: find(".state .word"), reason: find(".reason"), models: find(".models"),
      flight: find(".flight b"), load: find(".load"), latency: find(".latency"), line: find("path.line"),
      misses: find("path.misses"), picture: find("svg"), seen: find("time"), never: find("td:nth-of-type(6)"),
    };
  }
  return entry.parts;
}

function setAttribute(element, name, value) {
  if (element && element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Say when a server was last seen; one that never was has no <time> yet. */
function showSeen(parts, iso) {
  if (!iso) return;
  if (!parts.seen) {
    parts.seen = document.createElement("time");
    parts.seen.dataset.ago = "";
    parts.never.replaceChildren(parts.seen);
  }
  setMoment(parts.seen, iso);
}

/** Show what is new of a server. */
function show(id, next) {
  const entry = rows.get(id);
  const before = entry.shown ?? {};
  const parts = partsOf(entry);
  entry.shown = next;
  if (next.state !== before.state) {
    setAttribute(entry.row, "data-state", next.state);
    setAttribute(parts.badge, "data-state-badge", next.state);
  }
  if (next.words !== before.words) setText(parts.word, next.words);
  if (next.reason !== before.reason) setText(parts.reason, next.reason);
  if (next.models !== before.models) setText(parts.models, next.models);
  if (next.in_flight !== before.in_flight) setText(parts.flight, String(next.in_flight));
  if (next.load !== before.load) setText(parts.load, next.load);
  if (next.latency !== before.latency) setText(parts.latency, next.latency);
  if (next.line !== before.line) setAttribute(parts.line, "d", next.line);
  if (next.misses !== before.misses) setAttribute(parts.misses, "d", next.misses);
  if (next.trend !== before.trend) setAttribute(parts.picture, "aria-label", next.trend);
  if (next.seen_at !== before.seen_at) showSeen(parts, next.seen_at);
}

/** Show what waits, in pieces that leave each frame its time: first what is in view. */
function work() {
  isPlanned = false;
  const until = performance.now() + FRAME_MS;
  for (const id of [...inView, ...waiting.keys()]) {
    const next = waiting.get(id);
    if (!next) continue;
    waiting.delete(id);
    show(id, next);
    if (performance.now() > until) break;
  }
  plan();
}

function plan() {
  if (!isPlanned && waiting.size > 0) {
    isPlanned = true;
    requestAnimationFrame(work);
  }
}

/** A row whose server was removed stays where it is, and says so. */
function showGone(id) {
  const entry = rows.get(id);
  if (!entry || entry.row.dataset.state === "removed") return;
  waiting.delete(id);
  entry.shown = null;
  const parts = partsOf(entry);
  setAttribute(entry.row, "data-state", "removed");
  setAttribute(parts.badge, "data-state-badge", "removed");
  setText(parts.word, "Removed");
  setText(parts.reason, "");
  gone += 1;
}

function showNews() {
  const place = document.getElementById("server-news");
  if (!place) return;
  const told = [];
  if (joined.size > 0) told.push(`${joined.size} new ${joined.size === 1 ? "server" : "servers"}`);
  if (gone > 0) told.push(`${gone} removed`);
  const words = told.join(", ");
  if (place.dataset.words === words) return;
  place.dataset.words = words;
  place.replaceChildren();
  if (words) {
    const link = Object.assign(document.createElement("a"), {href: location.href, textContent: "Show the list anew"});
    place.append(`${words}. `, link);
  }
}

/** Take in what the live data says. */
function take({changed, gone: left, first}) {
  const ids = Object.keys(changed);
  if (first) {
    const isWhole = list()?.dataset.narrow === "no";
    known = new Set(isWhole && known === null ? rows.keys() : known ?? ids);
    for (const id of rows.keys()) if (!(id in changed)) showGone(id);
  }
  for (const id of ids) {
    if (rows.has(id)) waiting.set(id, changed[id]);
    if (!known.has(id)) joined.add(id);
    known.add(id);
  }
  for (const id of left) {
    if (!joined.delete(id)) showGone(id);
    known.delete(id);
  }
  showNews();
  plan();
}

/** Tell the gateway which rows of a long list are before somebody's eyes. */
function follow() {
  observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) inView.add(entry.target.dataset.serverId);
      else inView.delete(entry.target.dataset.serverId);
    }
    clearTimeout(viewTimer);
    if (rows.size > LONG_LIST) viewTimer = setTimeout(tellView, VIEW_PAUSE_MS);
  });
  for (const {row} of rows.values()) observer.observe(row);
}

function token() {
  return document.querySelector("#row-menu input[name=csrf]")?.value ?? "";
}

async function tellView() {
  if (document.hidden || inView.size === 0) return;
  const fields = new URLSearchParams([["page", PAGE_NAME], ...[...inView].slice(0, LONG_LIST).map((id) => ["id", id])]);
  try {
    await fetch("/ui/servers/in-view", {method: "POST", body: fields, headers: {"X-CSRF-Token": token()}});
  } catch {
    // it is a hint: without it the gateway looks after all rows alike
  }
}

const menu = document.getElementById("row-menu");

let above = 0; // where the menu would end if it stood above its button

/** Make the one menu that of a row, and put it below its button. */
function openFor(button) {
  const row = button.closest("tr");
  const isHeld = ["paused", "draining"].some((word) => row.querySelector(".word").textContent.toLowerCase().includes(word));
  const base = `/ui/servers/${encodeURIComponent(row.dataset.serverId)}`;
  setText(document.getElementById("row-menu-name"), row.querySelector("a").textContent);
  for (const item of menu.querySelectorAll("[data-path]")) {
    const url = item.dataset.path ? `${base}/${item.dataset.path}` : base;
    item.setAttribute(item.tagName === "A" ? "href" : "formaction", url);
    item.hidden = (item.dataset.if === "held" && !isHeld) || (item.dataset.unless === "held" && isHeld);
  }
  const place = button.getBoundingClientRect();
  above = place.top - 4;
  menu.style.top = `${place.bottom + scrollY + 4}px`;
  menu.style.left = `${Math.max(8, Math.min(place.right + scrollX, document.documentElement.clientWidth - 8) - 216)}px`;
}

/** Do what the menu says, and tell how it went; the live data shows it in the row. */
async function act(event) {
  event.preventDefault();
  const {submitter} = event;
  const fields = new URLSearchParams(new FormData(menu, submitter));
  menu.hidePopover();
  tell(`${submitter.textContent.trim()} …`);
  try {
    const answer = await fetch(submitter.formAction, {method: "POST", body: fields, headers: {accept: "application/json"}});
    const told = await answer.json();
    if (told.error?.code === "sign_in_needed") {
      location.assign(`/ui/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
      return;
    }
    tell(told.notice ?? told.error?.message ?? "This did not work. Load the page again.", answer.ok ? told.kind : "bad");
  } catch {
    tell("The gateway does not answer. Try again in a moment.", "bad");
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("#server-list [popovertarget]");
  if (button) openFor(button);
}, true);
menu?.addEventListener("submit", act);
menu?.addEventListener("toggle", ({newState}) => {
  if (newState !== "open") return;
  const {height, bottom} = menu.getBoundingClientRect(); // which it has only now
  if (bottom > innerHeight && above > height) menu.style.top = `${above + scrollY - height}px`;
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width && menu?.matches(":popover-open")) menu.hidePopover(); // its button is elsewhere now
  width = innerWidth;
});
document.addEventListener("gateway:servers", (event) => take(event.detail));
document.addEventListener("htmx:after:swap", () => {
  const shown = new Map([...rows].map(([id, entry]) => [id, entry.shown]));
  index();
  for (const [id, row] of shown) if (row && rows.has(id)) waiting.set(id, row);
  joined = new Set();
  gone = 0;
  showNews();
  plan();
});
index();
