/**
 * How does a list of the page Activity follow what happens? It asks for what is new, and puts copies of a blank row at
 * the top: nothing that is there is replaced, so focus, selection and place stay. Without a script the list is as it
 * was when the page was made.
 */

import {ago, setText} from "./base.js";

const MOST_ROWS = 300;
const RETRY_MS = 5000;

const follow = document.getElementById("follow");
const list = document.getElementById("rows");
const blank = document.getElementById("blank-row");

/** Put the texts of a row into a copy of the blank one, by the names in its attributes. */
function made(row) {
  const copy = blank.content.firstElementChild.cloneNode(true);
  copy.dataset.row = row.number ?? "";
  for (const element of copy.querySelectorAll("[data-if]")) element.hidden = !row[element.dataset.if];
  for (const element of copy.querySelectorAll("[data-unless]")) element.hidden = Boolean(row[element.dataset.unless]);
  for (const element of copy.querySelectorAll("[data-cell]")) setText(element, row[element.dataset.cell] ?? "");
  for (const element of copy.querySelectorAll("[data-badge]")) element.dataset.stateBadge = row[element.dataset.badge];
  for (const element of copy.querySelectorAll("a[data-href]")) {
    const address = row[element.dataset.href];
    if (address) element.setAttribute("href", address);
    if (!address) setText(element, "");
  }
  for (const element of copy.querySelectorAll("time[data-when]")) setTime(element, row);
  return copy;
}

function setTime(element, row) {
  if (!row.when) return;
  element.setAttribute("datetime", row.when);
  element.setAttribute("title", row.when_full);
  if ("ago" in element.dataset) setText(element, ago(Date.parse(row.when)));
}

/** Whether somebody is at a row: it is not taken away then. */
function isInUse(row) {
  return row.contains(document.activeElement) || row.matches(":hover") || row.querySelector("details[open]") !== null;
}

/** Put rows at the top, and let the oldest go; what is on the screen stays where it is. */
function put(rows, isAnew) {
  if (rows.length === 0 && !isAnew) return;
  const seen = [...list.children].find((row) => row.getBoundingClientRect().bottom > 0);
  const before = seen?.getBoundingClientRect().top ?? 0;
  if (isAnew) for (const row of [...list.children]) if (!isInUse(row)) row.remove();
  list.prepend(...rows.map(made));
  for (let row = list.lastElementChild; row && list.children.length > MOST_ROWS; ) {
    const older = row.previousElementSibling;
    if (!isInUse(row)) row.remove();
    row = older;
  }
  document.getElementById("rows-card").hidden = list.children.length === 0;
  document.getElementById("rows-empty").hidden = list.children.length > 0;
  const isScrolled = seen?.isConnected && before < 0;
  if (isScrolled) scrollBy({top: seen.getBoundingClientRect().top - before, behavior: "instant"});
}

/** Follows one list. `follow` says where to ask, and whether by an event of the live stream or every so often. */
function following() {
  const {url, event, every} = follow.dataset;
  const button = follow.querySelector("button");
  const state = follow.querySelector("[data-follow-state]");
  let newest = follow.dataset.newest;
  let isFollowing = true;
  let isAsking = false;
  let isWanted = false;
  let retry = 0;

  async function ask() {
    const answer = await fetch(`${url}&after=${encodeURIComponent(newest)}`, {headers: {accept: "application/json"}});
    if (answer.status === 401) throw new Error("signed out: load the page again");
    if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
    const told = await answer.json();
    if (!isFollowing) return;
    newest = told.newest || newest;
    put(told.rows, told.is_anew);
    setText(state, told.is_cut ? "Following; more came than fits" : "Following");
  }

  async function look() {
    isWanted = true;
    if (isAsking || document.hidden) return;
    isAsking = true;
    while (isWanted && isFollowing && !document.hidden) {
      isWanted = false;
      try {
        await ask();
      } catch (error) {
        setText(state, `Not following: ${error.message}`);
        clearTimeout(retry);
        if (!every) retry = setTimeout(look, RETRY_MS);
      }
    }
    isAsking = false;
  }

  function toggle() {
    isFollowing = !isFollowing;
    setText(button.querySelector("span"), isFollowing ? "Pause" : "Follow");
    setText(state, isFollowing ? "Following" : "Paused");
    if (isFollowing) look();
  }

  button.addEventListener("click", toggle);
  document.addEventListener("visibilitychange", look);
  if (event) document.addEventListener(event, look);
  if (every) setInterval(look, Number(every));
  follow.hidden = false;
}

if (follow && list && blank) following();
