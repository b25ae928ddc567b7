/** How does one answer look while it is being written, and after? It listens to `askModel`; all text is set as text. */

import {writeName} from "./playground-servers.js";

const SECOND = 1000;
const NARROW_SPACE = "\u202f";
const REASONS = {
  length: ["warn", "Cut at its longest"],
  content_filter: ["warn", "Cut by a filter"],
};

/** Write milliseconds as the server does (`wording.py`). */
export function milliseconds(number) {
  if (number >= SECOND) return `${(number / SECOND).toFixed(1)}${NARROW_SPACE}s`;
  return `${number.toFixed(number >= 10 ? 0 : 1)}${NARROW_SPACE}ms`;
}

function count(number) {
  return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE);
}

/** Text that grows: pieces are gathered and put in once a frame, so that a fast server costs no more than a slow one. */
class GrowingText {
  #element;
  #tail = null;
  #waiting = "";
  #onGrow;

  constructor(element, onGrow) {
    this.#element = element;
    this.#onGrow = onGrow;
  }

  add(text) {
    if (!this.#waiting) requestAnimationFrame(() => this.flush());
    this.#waiting += text;
  }

  flush() {
    if (!this.#waiting) return;
    this.#onGrow(() => {
      if (!this.#tail) {
        this.#tail = document.createTextNode("");
        this.#element.append(this.#tail);
      }
      this.#tail.appendData(this.#waiting);
      this.#waiting = "";
    });
  }

  /** Put an element where the text stands now. */
  mark(element) {
    this.flush();
    this.#element.append(element);
    this.#tail = null;
  }
}

/** One answer on the page. */
export class AnswerView {
  #parts = {};
  #text;
  #thoughts;
  #beganAt = performance.now();
  #firstAt = 0;
  #lastAt = 0;
  #pieces = 0;
  #attempts = 0;
  #servers = [];
  #routes = [];
  #seams = [];
  #usage = null;
  #reason = "";
  #announce;
  #model;

  /**
   * @param {HTMLTemplateElement} pattern
   * @param {string} model
   * @param {{onGrow: (grow: () => void) => void, onKill: (serverId: string) => void, announce: (words: string) => void}} tools
   */
  constructor(pattern, model, {onGrow, onKill, announce}) {
    this.element = pattern.content.firstElementChild.cloneNode(true);
    for (const part of this.element.querySelectorAll("[data-part]")) this.#parts[part.dataset.part] = part;
    this.#text = new GrowingText(this.#parts.text, onGrow);
    this.#thoughts = new GrowingText(this.#parts.reasoning, onGrow);
    this.#announce = announce;
    this.#model = model;
    this.element.setAttribute("aria-label", `Answer of ${model}`);
    this.element.setAttribute("aria-busy", "true");
    this.#parts.model.textContent = model;
    this.#parts.kill?.addEventListener("click", () => onKill(this.serverId));
    /** All that the model said, to be sent along with the next message. */
    this.said = "";
  }

  /** Who answers now; empty where that is not known yet. */
  get serverId() {
    return this.#servers.at(-1) ?? "";
  }

  // -- what `askModel` tells

  head({serverId, attempts, route}) {
    this.#attempts = attempts;
    if (route) this.#routes.push(route);
    if (serverId) this.#goesTo(serverId);
    this.#writeWay();
  }

  routed({serverId, route}) {
    this.#attempts += 1;
    this.#routes.push(route);
    if (!this.serverId) this.#goesTo(serverId);
    else if (this.said) this.#state("warn", "Going on elsewhere");
    this.#writeWay();
  }

  waits(words) {
    if (!this.#firstAt) this.#parts.waiting.textContent = `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
  }

  thinks(text) {
    this.#came();
    this.element.querySelector(".thoughts").hidden = false;
    this.#thoughts.add(text);
  }

  says(text) {
    this.#came();
    this.said += text;
    this.#text.add(text);
  }

  seam({serverId, milliseconds: duration}) {
    const mark = document.createElement("span");
    mark.className = "seam";
    mark.dataset.milliseconds = String(duration);
    const name = document.createElement("span");
    mark.append("continued by ", name, ` after ${milliseconds(duration)}`);
    writeName(name, serverId);
    this.#thoughts.flush();
    this.#text.mark(mark);
    this.#seams.push(duration);
    this.#goesTo(serverId);
    this.#state("calm", "Answering");
    this.#show("continued", `${this.#seams.length === 1 ? "once" : `${this.#seams.length} times`}, after ${this.#seams.map(milliseconds).join(" and ")}`);
    this.#writeWay();
    this.#announce(`${this.#model}: another server goes on.`);
  }

  counts(usage) {
    this.#usage = usage;
  }

  ends(reason) {
    this.#reason = reason;
  }

  // -- the end, as the page tells it

  complete() {
    const [badge, words] = REASONS[this.#reason] ?? ["good", "Complete"];
    this.#close(badge, words);
    this.#announce(`${this.#model}: the answer is ${this.#reason === "length" ? "cut at its longest" : "complete"}, ${this.#tokensInWords()}.`);
  }

  stopped() {
    this.#close("warn", "Stopped by you");
    this.#announce(`${this.#model}: stopped.`);
  }

  failed(words) {
    this.#close("bad", this.said ? "Broken off" : "Failed");
    this.#parts.error.hidden = false;
    this.#parts.error.querySelector("span").textContent = words;
    this.#announce(`${this.#model}: ${words}`);
  }

  // -- inside

  #came() {
    this.#lastAt = performance.now();
    this.#pieces += 1;
    if (this.#firstAt) return;
    this.#firstAt = this.#lastAt;
    this.#parts.waiting.hidden = true;
    this.#state("calm", "Answering");
    this.#show("first-token", milliseconds(this.#firstAt - this.#beganAt));
  }

  #goesTo(serverId) {
    if (!serverId) return;
    this.#servers.push(serverId);
    this.#parts.server.parentElement.hidden = false;
    writeName(this.#parts.server, serverId);
    if (this.#parts.killing) this.#parts.killing.hidden = false;
  }

  #writeWay() {
    if (this.#attempts) this.#show("attempts", count(this.#attempts));
    this.#parts.details.hidden = this.#servers.length === 0 && this.#routes.length === 0;
    this.#parts["server-id"].textContent = this.#servers.join(" → ");
    this.#parts.route.textContent = this.#routes.join(" → ");
  }

  #close(badge, words) {
    this.#text.flush();
    this.#thoughts.flush();
    this.#parts.waiting.hidden = true;
    if (this.#parts.killing) this.#parts.killing.remove();
    this.element.removeAttribute("aria-busy");
    this.#state(badge, words);
    this.#writeFigures();
  }

  #writeFigures() {
    const answered = this.#usage?.completion_tokens ?? this.#pieces;
    const seconds = (this.#lastAt - this.#firstAt) / SECOND;
    if (answered > 1 && seconds > 0) this.#show("speed", `${((answered - 1) / seconds).toFixed(1)} tokens/s`);
    this.#show("time", milliseconds(performance.now() - this.#beganAt));
    if (this.#usage || answered) this.#show("tokens", this.#tokensInWords());
  }

  #tokensInWords() {
    if (!this.#usage) return `about ${count(this.#pieces)} out`;
    return `${count(this.#usage.prompt_tokens ?? 0)} in, ${count(this.#usage.completion_tokens ?? 0)} out`;
  }

  #show(part, words) {
    this.#parts[part].textContent = words;
    this.#parts[part].parentElement.hidden = false;
  }

  #state(badge, words) {
    const state = this.element.querySelector(".state");
    state.dataset.stateBadge = badge;
    state.querySelector(".word").textContent = words;
  }
}
