/**
 * How does the form of a registration answer while it is filled in? What the server finds wrong is put beside its
 * field; rows for more models are added here; after an answer the first thing to look at has the focus.
 */

import {setText} from "./base.js";

const form = document.getElementById("register-form");
const faults = document.getElementById("faults");
const rows = form?.querySelector("[data-model-rows]");

/** What the last answer to the whole form found, by field, with what stood there: it holds until that is changed. */
let answered = new Map();

/** Gather what is wrong now: what was said last, and what an answer said of fields that nobody has touched since. */
function gather() {
  const said = new Map();
  for (const [name, {text, value}] of answered) if (valueOf(name) === value) said.set(name, text);
  for (const fault of faults.querySelectorAll("[data-says]")) said.set(fault.dataset.says, fault.textContent);
  if (faults.querySelector("[data-sent]")) {
    answered = new Map([...said].map(([name, text]) => [name, {text, value: valueOf(name)}]));
  }
  return said;
}

function valueOf(name) {
  return document.getElementById(`in-${name}`)?.value ?? "";
}

/** Put every fault beside its field, and take away those that are no more. */
function place() {
  const said = gather();
  let first = null;
  for (const slot of form.querySelectorAll("[data-fault]")) {
    const name = slot.dataset.fault;
    const text = said.get(name) ?? "";
    setText(slot, text);
    const input = document.getElementById(`in-${name}`);
    if (text) input?.setAttribute("aria-invalid", "true");
    else input?.removeAttribute("aria-invalid");
    if (text) first ??= input ?? slot;
  }
  return first;
}

/** Show what was answered to a form that was sent: the first field at fault, else the answer. */
function lead(first) {
  const outcome = document.getElementById("outcome");
  if (first) {
    for (let parent = first.parentElement; parent; parent = parent.parentElement) {
      if (parent instanceof HTMLDetailsElement) parent.open = true;
    }
    first.focus?.();
  } else {
    outcome.focus({preventScroll: true});
    outcome.scrollIntoView({block: "nearest"});
  }
}

/** Number a copy of the last row anew, and empty it. */
function addRow() {
  const index = rows.children.length;
  const copy = rows.lastElementChild.cloneNode(true);
  for (const element of copy.querySelectorAll("*")) {
    for (const attribute of ["id", "name", "for", "aria-describedby", "data-fault"]) {
      const value = element.getAttribute(attribute);
      if (value) element.setAttribute(attribute, value.replace(/models-\d+-/, `models-${index}-`));
    }
    if (element.hasAttribute("data-fault")) element.textContent = "";
    if (element.hasAttribute("data-number")) element.textContent = String(index + 1);
    if (element instanceof HTMLInputElement) {
      element.value = "";
      element.removeAttribute("aria-invalid");
    }
  }
  rows.append(copy);
  form.querySelector("[data-rows]").value = String(rows.children.length);
  return copy;
}

function onClick(event) {
  if (!event.target.closest("[data-more-rows]")) return;
  event.preventDefault();
  addRow().querySelector("input")?.focus();
}

/** Offer the time zone of this browser, where hours are wanted and none is named. */
function offerZone() {
  const zone = document.getElementById("in-timezone");
  const wanted = form.querySelector('[name="lent"][value="windows"]')?.checked;
  if (wanted && zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
}

if (form && faults) {
  new MutationObserver(() => {
    const isAnswer = faults.querySelector("[data-sent]") !== null;
    if (isAnswer) answered = new Map();
    const first = place();
    if (isAnswer) lead(first);
  }).observe(faults, {childList: true});
  form.addEventListener("click", onClick);
  form.addEventListener("change", offerZone);
}
