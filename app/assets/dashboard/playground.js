/**
 * How is a conversation held in the page: what is sent, what runs, what is asked again? Nothing of it is kept anywhere
 * but here, in memory.
 */

import {tell} from "./base.js";
import {AnswerFailed, askModel} from "./playground-chat.js";
import {AnswerView} from "./playground-view.js";

const NEAR_BOTTOM_PIXELS = 160;
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];

const form = document.getElementById("playground");
const conversation = document.getElementById("conversation");
const prompt = form.elements.namedItem("prompt");
const csrf = form.elements.namedItem("csrf").value;
const turnPattern = document.getElementById("turn-pattern");
const answerPattern = document.getElementById("answer-pattern");
const [send, stop, clear, status, examples, keys] = ["send", "stop", "clear", "status", "examples", "keys"].map(
  (name) => form.querySelector(`[data-part="${name}"]`),
);

/** Each {prompt, element, columns: [view]}, oldest first. */
const turns = [];
let running = null;

function chosenModels() {
  return ["model", "second_model"].map((name) => form.elements.namedItem(name).value).filter(Boolean);
}

/** What one column has heard so far, and the new message: turns that it gave no answer to are left out. */
function messagesFor(turn, column) {
  const system = form.elements.namedItem("system").value.trim();
  const messages = system ? [{role: "system", content: system}] : [];
  for (const before of turns.slice(0, turns.indexOf(turn))) {
    const said = before.columns[column]?.said;
    if (said) messages.push({role: "user", content: before.prompt}, {role: "assistant", content: said});
  }
  return [...messages, {role: "user", content: turn.prompt}];
}

function requestFor(turn, column, model) {
  const request = {model, messages: messagesFor(turn, column), stream: true, stream_options: {include_usage: true}};
  for (const name of NUMBERS) {
    const value = form.elements.namedItem(name).value.trim();
    if (value) request[name] = Number(value);
  }
  const stops = form.elements.namedItem("stop").value.split("\n").filter(Boolean);
  if (stops.length > 0) request.stop = stops;
  return request;
}

/** Let the page grow; who reads at its end keeps reading there. */
function grow(change) {
  const page = document.scrollingElement;
  const follows = page.scrollHeight - page.clientHeight - page.scrollTop < NEAR_BOTTOM_PIXELS;
  change();
  if (follows) page.scrollTop = page.scrollHeight;
}

function announce(words) {
  status.textContent = words;
}

async function answerWith(view, request, signal) {
  try {
    await askModel(request, {csrf, signal}, view);
    view.complete();
  } catch (error) {
    if (signal.aborted) view.stopped();
    else if (error instanceof AnswerFailed) view.failed(error.message);
    else {
      view.failed("The page failed to show this answer. Load it again.");
      throw error;
    }
  }
}

async function answerTurn(turn) {
  const abort = new AbortController();
  const models = chosenModels();
  turn.columns = models.map((model) => new AnswerView(answerPattern, model, {onGrow: grow, onKill: kill, announce}));
  turn.element.querySelector('[data-part="answers"]').replaceChildren(...turn.columns.map((view) => view.element));
  setRunning(abort);
  announce(`Asking ${models.join(" and ")}.`);
  grow(() => {});
  const asked = turn.columns.map((view, column) => answerWith(view, requestFor(turn, column, models[column]), abort.signal));
  try {
    await Promise.all(asked);
  } finally {
    setRunning(null);
  }
}

function setRunning(abort) {
  const hadFocus = [send, stop].includes(document.activeElement);
  running = abort;
  send.hidden = Boolean(abort);
  stop.hidden = !abort;
  clear.hidden = Boolean(abort) || turns.length === 0;
  examples.hidden = turns.length > 0;
  for (const turn of turns) {
    turn.element.querySelector('[data-part="turn-actions"]').hidden = Boolean(abort) || turn !== turns.at(-1);
  }
  if (hadFocus) (abort ? stop : prompt).focus();
}

function addTurn(text) {
  const element = turnPattern.content.firstElementChild.cloneNode(true);
  element.querySelector('[data-part="prompt"]').textContent = text;
  const turn = {prompt: text, element, columns: []};
  element.querySelector('[data-part="retry"]').addEventListener("click", () => askAgain(turn));
  element.querySelector('[data-part="edit"]').addEventListener("click", () => edit(turn));
  turns.push(turn);
  conversation.append(element);
  return turn;
}

function submit(event) {
  event.preventDefault();
  const text = prompt.value.trim();
  if (running || !text) return;
  if (turns.length === 0) conversation.replaceChildren(); // an answer that came without a script has no part in this
  prompt.value = "";
  const turn = addTurn(text);
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
  answerTurn(turn);
}

function askAgain(turn) {
  if (running) return;
  prompt.focus();
  answerTurn(turn);
}

/** Take the last message back into the field. */
function edit(turn) {
  if (running) return;
  turns.splice(turns.indexOf(turn));
  turn.element.remove();
  prompt.value = turn.prompt;
  setRunning(null);
  prompt.focus();
}

function clearAll() {
  turns.length = 0;
  conversation.replaceChildren();
  setRunning(null);
  announce("The conversation is cleared.");
  prompt.focus();
}

async function kill(serverId) {
  try {
    const response = await fetch("/ui/playground/kill", {
      method: "POST",
      headers: {"x-csrf-token": csrf},
      body: new URLSearchParams({server_id: serverId}),
    });
    const told = response.ok ? null : await response.json();
    announce(told?.error?.message ?? "The server is killed.");
    if (told) tell(told.error?.message ?? "The server could not be killed.", "bad");
  } catch {
    tell("The gateway can't be reached, so nothing was killed.", "bad");
  }
}

form.addEventListener("submit", submit);
form.addEventListener("invalid", (event) => { event.target.closest("details")?.setAttribute("open", ""); }, true);
stop.addEventListener("click", () => running?.abort());
clear.addEventListener("click", clearAll);
for (const button of form.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => {
    prompt.value = button.textContent;
    prompt.focus();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && running) {
    event.preventDefault();
    running.abort();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.contains(event.target)) {
    event.preventDefault();
    form.requestSubmit(send);
  }
});
keys.hidden = false;
setRunning(null);
