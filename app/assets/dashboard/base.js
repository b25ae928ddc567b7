/**
 * What do all pages do by themselves? Relative times that stay true, copy buttons, questions before what can't be undone,
 * menus that close. Everything here refines what works without it.
 */

const SECOND = 1000;
const STEPS = [[86400, "d"], [3600, "h"], [60, "min"]];

/** Write a moment as seen from now, in the words of the server (`wording.py`). */
export function ago(instant, now = Date.now()) {
  const seconds = (now - instant) / SECOND;
  const size = Math.abs(seconds);
  if (size < 2) return "just now";
  const step = STEPS.find(([length]) => size >= length);
  const text = step ? `${Math.trunc(size / step[0])}\u202f${step[1]}` : `${Math.round(size)}\u202fs`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

/** Set a text only where it differs: what did not change keeps its selection, and costs no layout. */
export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/** Put a moment into a <time data-ago> element. */
export function setMoment(element, iso) {
  const instant = Date.parse(iso ?? "");
  if (!element || Number.isNaN(instant)) return;
  if (element.getAttribute("datetime") !== iso) {
    element.setAttribute("datetime", iso);
    element.setAttribute("title", `${new Date(instant).toISOString().slice(0, 19).replace("T", " ")} UTC`);
  }
  setText(element, ago(instant));
}

/** Tell everybody, those who can't see it too, what was done. */
export function tell(text, kind = "info") {
  const place = document.getElementById("notices");
  if (!place) return;
  const line = document.createElement("p");
  line.className = `notice ${kind}`;
  if (kind === "bad") line.setAttribute("role", "alert");
  line.textContent = text;
  place.replaceChildren(line);
}

function refreshTimes() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[data-ago]")) {
    setText(element, ago(Date.parse(element.getAttribute("datetime")), now));
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const text = source?.value ?? source?.textContent ?? "";
  const words = button.querySelector("span") ?? button;
  const before = words.textContent;
  try {
    await navigator.clipboard.writeText(text);
    setText(words, "Copied");
  } catch {
    selectAll(source); // over plain http there is no clipboard: what is selected can be copied by hand
    setText(words, "Selected: press Ctrl+C");
  }
  setTimeout(() => setText(words, before), 2500);
}

function selectAll(element) {
  if (element?.select) {
    element.select();
  } else if (element) {
    getSelection().selectAllChildren(element);
  }
}

/** Ask before a form is sent or a button pressed that says `data-confirm`. The server asks too where it matters. */
function askFirst(form, submitter, question) {
  const dialog = document.createElement("dialog");
  const body = document.createElement("article");
  const words = document.createElement("p");
  words.textContent = question;
  words.id = "question";
  dialog.setAttribute("aria-labelledby", "question");
  const foot = document.createElement("footer");
  const no = Object.assign(document.createElement("button"), {type: "button", className: "quiet", textContent: "Cancel"});
  const yes = Object.assign(document.createElement("button"), {type: "button", className: "danger solid"});
  yes.textContent = submitter?.textContent.trim() || "Yes";
  foot.append(no, yes);
  body.append(words, foot);
  dialog.append(body);
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    submitter?.focus();
  });
  no.addEventListener("click", () => dialog.close());
  yes.addEventListener("click", () => {
    form.dataset.agreed = "yes";
    dialog.close();
    form.requestSubmit(submitter);
  });
  dialog.showModal();
  no.focus();
}

function onSubmit(event) {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (question && form.dataset.agreed !== "yes") {
    event.preventDefault();
    event.stopPropagation();
    askFirst(form, event.submitter, question);
  } else {
    delete form.dataset.agreed;
  }
}

function closeMenus(event) {
  const isWide = matchMedia("(width >= 60rem)").matches;
  for (const menu of document.querySelectorAll("details.menu[open], details[data-menu][open]")) {
    if (isWide && "menu" in menu.dataset) continue; // there it is no menu, but always there
    const isOutside = event.type === "keydown" ? event.key === "Escape" : !menu.contains(event.target);
    if (isOutside) {
      const hadFocus = menu.contains(document.activeElement);
      menu.open = false;
      if (hadFocus && event.type === "keydown") menu.querySelector("summary")?.focus();
    }
  }
}

/** The frame's menu is open where there is room for it. */
function openFrame() {
  const menu = document.querySelector("details[data-menu]");
  const isWide = matchMedia("(width >= 60rem)");
  const follow = () => { if (menu) menu.open = isWide.matches; };
  isWide.addEventListener("change", follow);
  follow();
}

function prepare(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
}

document.addEventListener("submit", onSubmit, true);
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (button) copy(button);
  closeMenus(event);
});
document.addEventListener("keydown", closeMenus);
document.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.matches?.("a[role=button]")) { // it is announced as a button, and buttons heed Space
    event.preventDefault();
    event.target.click();
  }
});
document.addEventListener("htmx:after:swap", () => prepare(document));
openFrame();
prepare(document);
refreshTimes();
setInterval(() => { if (!document.hidden && !("still" in document.body.dataset)) refreshTimes(); }, SECOND);
