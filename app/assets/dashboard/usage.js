/**
 * What does the page of use draw and do by itself? Its chart is made of the table below it, which says the same to those
 * who can't see it: bars that stand on top of each other. The fields of one's own span are there where they mean something.
 */

import {writer} from "./chart-words.js";

const HEIGHT = 240;
const BAR_SHARE = 0.7;
const MOST_BAR_PIXELS = 56;
const DAY_SECONDS = 86400;
const COLOURS = 6;
const MOST_NAME_CHARACTERS = 40;
/** How many hours or days may lie between two marks: never a part of one, which nobody counts. */
const MARKS = new Map([[3600, [1, 2, 3, 6, 12, 24]], [DAY_SECONDS, [1, 2, 5, 10, 30, 90, 365]]]);
const tokens = writer("tokens");

/** Read a colour of the style sheet, as it is in the theme that is shown now. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Read a table: moments, names, and the figures of each series. */
function read(table) {
  const rows = [...table.tBodies[0].rows].filter((row) => row.dataset.at);
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const values = names.map((_, index) => rows.map((row) => Number(row.cells[index + 1].dataset.value)));
  return {moments: rows.map((row) => Number(row.dataset.at)), names, values, step: Number(table.dataset.step)};
}

/** Put the series on top of each other: each is drawn from the ground to its own top, so the highest comes first. */
function piled({moments, values}) {
  const tops = [];
  values.forEach((one, index) => {
    tops.push(one.map((value, at) => value + (index ? tops[index - 1][at] : 0)));
  });
  return [moments, ...tops.reverse()];
}

/** Days and hours here are those of UTC, as the account keeps them. */
function moment(seconds, step) {
  const words = step < DAY_SECONDS ? {hour: "2-digit", minute: "2-digit"} : {day: "numeric", month: "short"};
  return new Date(seconds * 1000).toLocaleString("en-GB", {timeZone: "UTC", ...words});
}

function seriesOf(told) {
  const bars = globalThis.uPlot.paths.bars({size: [BAR_SHARE, MOST_BAR_PIXELS], align: 1});
  return told.names.map((label, index) => {
    const fill = () => colour(`--series-${Math.min(index + 1, COLOURS)}`);
    return {label, fill, stroke: fill, width: 0, paths: bars, points: {show: false}};
  }).reverse();
}

function options(told, width, onPoint) {
  const ink = () => colour("--ink-soft");
  const line = {stroke: () => colour("--line"), width: 1};
  const font = "12px system-ui, sans-serif";
  const incrs = (MARKS.get(told.step) ?? [1]).map((count) => count * told.step);
  return {
    width,
    height: HEIGHT,
    padding: [8, 28, 0, 0],
    tzDate: (seconds) => globalThis.uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    cursor: {y: false, drag: {x: false, y: false}, points: {show: false}},
    legend: {show: false},
    scales: {
      x: {range: (_plot, low) => [low, told.moments.at(-1) + told.step]},
      y: {range: (_plot, _low, high) => [0, Math.max(high, 1) * 1.05]},
    },
    axes: [
      {stroke: ink, font, grid: {show: false}, ticks: {...line, size: 4}, incrs, values: (_plot, marks) => marks.map((at) => moment(at, told.step))},
      {stroke: ink, font, grid: line, ticks: {show: false}, size: 64, values: (_plot, marks) => marks.map(tokens)},
    ],
    series: [{}, ...seriesOf(told)],
    hooks: {setCursor: [(plot) => onPoint(plot.cursor.left)]},
  };
}

function shortened(name) {
  return name.length > MOST_NAME_CHARACTERS ? `${name.slice(0, MOST_NAME_CHARACTERS - 1)}…` : name;
}

/** Say what stands where the pointer is. */
function reading(told, plot, left) {
  const at = told.moments.findLastIndex((begin) => begin <= plot.posToVal(left, "x"));
  if (left < 0 || at < 0) return "";
  const parts = told.names.map((name, index) => [name, told.values[index][at]]).filter(([, value]) => value > 0);
  const all = parts.reduce((sum, [, value]) => sum + value, 0);
  const words = parts.map(([name, value]) => `${shortened(name)} ${tokens(value)}`);
  return [`${moment(told.moments[at], told.step)}: ${tokens(all)} tokens`, ...words].join(" · ");
}

/** Draw a chart, and again when its width or the colours change. */
function draw(section) {
  const place = section.querySelector(".plot");
  const said = section.querySelector(".reading");
  const told = read(document.getElementById(section.dataset.chartOf));
  place.classList.add("drawn");
  const onPoint = (left) => { said.textContent = reading(told, plot, left); };
  const plot = new globalThis.uPlot(options(told, Math.max(place.clientWidth, 200), onPoint), piled(told), place);
  new ResizeObserver(() => {
    const width = place.clientWidth;
    if (width > 0 && width !== plot.width) plot.setSize({width, height: HEIGHT});
  }).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
}

/** @param {HTMLFormElement} form */
function followSpan(form) {
  const choice = form.querySelector("#span");
  const follow = () => { form.dataset.spanChosen = choice.value === "own" ? "yes" : "no"; };
  choice.addEventListener("change", follow);
  follow();
}

for (const section of document.querySelectorAll("[data-chart-of]")) draw(section);
for (const form of document.querySelectorAll("form[data-usage]")) followSpan(form);
