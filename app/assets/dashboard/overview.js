/**
 * How does the first page stay true? Figures, states and news come by the topic `overview`, what models there are by
 * `models`; texts change in place, and where the first server appears or the last one goes the page is another.
 */

import {setMoment, setText} from "./base.js";

function made(name, properties = {}, children = []) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function showFigures(figures) {
  for (const [key, text] of Object.entries(figures)) {
    for (const place of document.querySelectorAll(`[data-figure="${key}"]`)) setText(place, text);
  }
}

function showStates(states) {
  for (const [state, count] of Object.entries(states)) {
    const item = document.querySelector(`[data-count-of="${state}"]`);
    if (!item) continue;
    setText(item.querySelector("[data-count]"), String(count));
    item.hidden = count === 0;
  }
}

/** One line of the news, built of texts alone. */
function line(one) {
  const time = made("time");
  time.dataset.ago = "";
  setMoment(time, one.at);
  const name = one.url ? [made("a", {href: one.url, textContent: one.name})] : [];
  const mark = made("span", {className: "mark"});
  mark.setAttribute("aria-hidden", "true");
  const item = made("li", {}, [mark, made("p", {}, [...name, `${one.words} `, time])]);
  item.dataset.news = String(one.id);
  item.dataset.tone = one.tone;
  return item;
}

/** Put what is new on top; lines that are there stay as they are, with whatever has the focus. */
function showNews(news) {
  const list = document.getElementById("news");
  if (!list) return;
  const known = new Map([...list.children].map((item) => [item.dataset.news, item]));
  const wanted = new Set(news.map((one) => String(one.id)));
  for (const [id, item] of known) if (!wanted.has(id)) item.remove();
  for (const one of news.toReversed()) if (!known.has(String(one.id))) list.prepend(line(one));
  document.getElementById("no-news").hidden = news.length > 0;
}

document.addEventListener("gateway:overview", ({detail}) => {
  const now = detail.changed.now;
  if (!now) return;
  const before = document.querySelector("[data-total]");
  if (before && (Number(before.dataset.total) === 0) !== (now.total === 0)) {
    location.reload();
    return;
  }
  showFigures(now.figures);
  showStates(now.states);
  showNews(now.news);
});

document.addEventListener("gateway:models", ({detail}) => {
  for (const item of document.querySelectorAll("[data-model]")) {
    const row = detail.changed[item.dataset.model];
    const gone = detail.gone.includes(item.dataset.model) && {state: "unhealthy", badge: "Gone", words: "no server has it any more"};
    const shown = row ?? gone;
    if (!shown) continue;
    item.dataset.state = shown.state;
    setText(item.querySelector("[data-words]"), shown.words);
    const badge = item.querySelector("[data-state-badge]");
    badge.dataset.stateBadge = shown.state;
    setText(badge.querySelector(".word"), shown.badge);
  }
});
