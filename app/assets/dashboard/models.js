/** How do the cards of models stay true? What moves is told by the topic `models`, and changes in place. */

import {setText} from "./base.js";

const known = new Map();

/** Cards by the name of their model, as they stand now: a search puts others in their place. */
function cards() {
  const found = new Map();
  for (const card of document.querySelectorAll("[data-model]")) found.set(card.dataset.model, card);
  return found;
}

function show(card, row) {
  card.dataset.state = row.state;
  setText(card.querySelector("[data-words]"), row.words);
  const badge = card.querySelector("[data-state-badge]");
  badge.dataset.stateBadge = row.state;
  setText(badge.querySelector(".word"), row.badge);
}

const GONE = {state: "unhealthy", badge: "Gone", words: "no server has it any more"};

document.addEventListener("gateway:models", ({detail}) => {
  if (detail.first) known.clear();
  for (const [name, row] of Object.entries(detail.changed)) known.set(name, row);
  for (const name of detail.gone) known.delete(name);
  for (const [name, card] of cards()) show(card, known.get(name) ?? GONE);
});

document.addEventListener("htmx:after:swap", () => {
  for (const [name, card] of cards()) if (known.has(name)) show(card, known.get(name));
});
