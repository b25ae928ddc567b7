/**
 * How does the page of one server stay true? Its state and figures change where they stand; after each check the gateway
 * is asked for the part that tells of checks.
 */

import {setText} from "./base.js";

const section = document.querySelector(".one-server[data-server-id]");
const id = section?.dataset.serverId;
let before = null;

function show(next) {
  const badge = section.querySelector(".page-head .state");
  if (section.dataset.state !== next.state) section.dataset.state = next.state;
  if (badge.dataset.stateBadge !== next.state) badge.dataset.stateBadge = next.state;
  setText(badge.querySelector(".word"), next.words);
  for (const name of ["in_flight", "latency", "load"]) {
    setText(section.querySelector(`[data-figure="${name}"]`), String(next[name]));
  }
}

/** What tells of checks is made anew by the gateway: the timeline, and the table where it is open. */
function refresh() {
  const isOpen = document.getElementById("check-table")?.open;
  for (const name of isOpen ? ["server-now", "check-rows"] : ["server-now"]) {
    document.getElementById(name)?.dispatchEvent(new CustomEvent("changed-elsewhere"));
  }
}

function take({changed, gone, first}) {
  const next = changed[id];
  if (next) {
    show(next);
    const isNews = before !== null && ["checked_at", "words", "reason", "until"].some((name) => before[name] !== next[name]);
    before = next;
    if (isNews) refresh();
  } else if (gone.includes(id) || first) {
    section.dataset.state = "removed";
    const badge = section.querySelector(".page-head .state");
    badge.dataset.stateBadge = "removed";
    setText(badge.querySelector(".word"), "Removed");
    for (const control of section.querySelectorAll("button, input, select")) control.disabled = true;
    for (const link of section.querySelectorAll(".page-head .actions a")) link.hidden = true; // they lead nowhere now
  }
}

/** Tell the gateway that this server is before somebody's eyes: of many it looks after such ones first. */
async function tellView() {
  const token = document.querySelector("input[name=csrf]")?.value ?? "";
  const fields = new URLSearchParams([["page", Math.random().toString(36).slice(2)], ["id", id]]);
  try {
    await fetch("/ui/servers/in-view", {method: "POST", body: fields, headers: {"X-CSRF-Token": token}});
  } catch {
    // it is a hint: without it the gateway looks after all servers alike
  }
}

/** Say at the button that what was asked for takes a moment. */
function showBusy(event) {
  const words = event.target.dataset.slow;
  if (!words || event.defaultPrevented) return;
  const {submitter} = event;
  submitter?.setAttribute("aria-busy", "true");
  setText(submitter?.querySelector("span") ?? submitter, words);
}

if (section) {
  document.addEventListener("gateway:servers", (event) => take(event.detail));
  document.getElementById("check-table")?.addEventListener("toggle", (event) => { if (event.target.open) refresh(); });
  document.addEventListener("submit", showBusy);
  tellView();
}
