/**
 * What do the forms on keys do beside being sent? They are sent once, mark what differs, take a file into a field, and
 * let what is shown once be kept as a file. Everything here refines what works without it.
 */

import {setText} from "./base.js";

const MAX_FILE_BYTES = 400_000;
const BYTE_ORDER_MARKS = [["utf-16le", 0xff, 0xfe], ["utf-16be", 0xfe, 0xff]];

/** A form that makes something is sent once: its buttons rest until the answer is there. */
function sendOnce(event) {
  const form = event.target;
  if (event.defaultPrevented || !form.matches("form[data-once]")) return;
  const working = form.querySelector(".working");
  const words = event.submitter?.dataset.working;
  if (working && words) {
    setText(working.querySelector("p"), `${words} …`);
    working.hidden = false;
  }
  // What is disabled before the form is put together is not sent: the button that was pressed says what to do.
  setTimeout(() => rest(form, true), 0);
}

function rest(form, isResting) {
  for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = isResting;
}

/** A page that comes back by the Back button has its buttons again. */
function wake() {
  for (const form of document.querySelectorAll("form[data-once]")) {
    rest(form, false);
    const working = form.querySelector(".working");
    if (working) working.hidden = true;
  }
}

function differs(control) {
  if (control.type === "checkbox") return control.checked !== control.defaultChecked;
  if (control.matches("select")) return ![...control.selectedOptions].every((option) => option.defaultSelected);
  return control.value !== control.defaultValue;
}

/** Mark the fields that differ from how they came. */
function markChanges(event) {
  const field = event.target.closest?.("form[data-marks-changes] .field");
  if (field) field.toggleAttribute("data-altered", differs(event.target));
}

/** Add a line to a field, or take it out again. */
function toggleLine(button) {
  const place = document.getElementById(button.closest("[data-suggests]").dataset.suggests);
  const lines = place.value.split("\n").map((line) => line.trim()).filter(Boolean);
  const rest = lines.filter((line) => line !== button.dataset.line);
  place.value = (rest.length === lines.length ? [...lines, button.dataset.line] : rest).join("\n");
  button.setAttribute("aria-pressed", String(rest.length === lines.length));
  place.dispatchEvent(new Event("input", {bubbles: true}));
}

function encodingOf(bytes) {
  const found = BYTE_ORDER_MARKS.find(([, first, second]) => bytes[0] === first && bytes[1] === second);
  return found ? found[0] : "utf-8";
}

/** Read a chosen file into a field. It goes nowhere until the form is sent. */
async function takeFile(input) {
  const place = document.querySelector(`[data-takes-file="${CSS.escape(input.id)}"]`);
  const said = document.getElementById("file-said");
  const file = input.files[0];
  if (!file || !place) return;
  if (file.size > MAX_FILE_BYTES) {
    setText(said, `${file.name} is larger than ${MAX_FILE_BYTES / 1000} kB: leave out columns, or import it in parts.`);
    return;
  }
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    place.value = new TextDecoder(encodingOf(bytes), {fatal: true}).decode(bytes);
    setText(said, `${file.name} is in the field above. Check the list now.`);
  } catch {
    setText(said, `${file.name} can't be read as text: save it as “CSV UTF-8” and choose it again.`);
  }
}

/** Keep a text of this page as a file. Nothing is asked of the gateway: it does not have it any more. */
function download(button) {
  const text = document.getElementById(button.dataset.download).value;
  const url = URL.createObjectURL(new Blob([text], {type: "text/csv;charset=utf-8"}));
  const link = document.createElement("a");
  link.href = url;
  link.download = button.dataset.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
  setText(document.getElementById("download-said"), `${button.dataset.file} is among your downloads: keep it safe.`);
}

/** What was shown once is not kept in a page that a browser may bring back whole by its Back button. */
function forget() {
  for (const place of document.querySelectorAll("[data-forgets]")) {
    const words = document.createElement("p");
    words.textContent = "What stood here was shown once.";
    place.replaceChildren(words);
  }
}

function onClick(event) {
  const line = event.target.closest?.("button[data-line]");
  const file = event.target.closest?.("button[data-download]");
  if (line) toggleLine(line);
  if (file) download(file);
}

function prepare() {
  for (const element of document.querySelectorAll("[data-suggests], #file-field, button[data-download]")) {
    element.hidden = false;
  }
}

document.addEventListener("submit", sendOnce);
document.addEventListener("input", markChanges);
document.addEventListener("click", onClick);
document.getElementById("list-file")?.addEventListener("change", (event) => takeFile(event.target));
addEventListener("pagehide", forget);
addEventListener("pageshow", (event) => { if (event.persisted) wake(); });
prepare();
