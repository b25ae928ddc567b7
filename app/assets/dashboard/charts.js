/**
 * Where are the charts of a page, and what do they tell? Each `<figure data-chart='{...}'>` becomes one:
 *
 *   url     answers {"times": [Unix seconds, ...], "step_seconds": 10, "<key>": [number or null, ...], ...};
 *           or `data`: the same in place
 *   lines   [{"key": "requests_per_second", "name": "Requests"}, ...]
 *   kind    line (default), area or bars (of one line)
 *   format  rate, count, tokens, seconds or share (`chart-words.js`)
 *   every   seconds between refreshes while the page is seen; none: never
 *
 * Charts of one URL share its answer. The page has the same figures in a table; here arrow keys read them out.
 */

import {columnsOf, draw, lineDash} from "./chart-plot.js";
import {fullMoment, writer} from "./chart-words.js";

const SVG = "http://www.w3.org/2000/svg";
const SECOND = 1000;
const STEPS = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10};

/** @type {Map<string, {charts: Chart[], at: number}>} */
const sources = new Map();

function made(name, properties = {}, children = []) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** The mark of a line in the legend: its colour, and how it is dashed. */
function markOf(config, index) {
  const mark = document.createElementNS(SVG, "svg");
  const attributes = {width: "22", height: "10", viewBox: "0 0 22 10", "aria-hidden": "true", class: `mark line-${(index % 6) + 1}`};
  for (const [name, value] of Object.entries(attributes)) mark.setAttribute(name, value);
  const shape = document.createElementNS(SVG, config.kind === "bars" ? "rect" : "path");
  const form = config.kind === "bars"
    ? {x: "6", y: "0", width: "10", height: "10", rx: "2", fill: "currentColor"}
    : {d: "M1 5h20", stroke: "currentColor", "stroke-width": "2.5", "stroke-dasharray": lineDash(index).join(" ")};
  for (const [name, value] of Object.entries(form)) shape.setAttribute(name, value);
  mark.append(shape);
  return mark;
}

class Chart {
  /** @param {HTMLElement} figure */
  constructor(figure) {
    this.figure = figure;
    this.config = JSON.parse(figure.dataset.chart);
    this.write = writer(this.config.format);
    this.figures = null;
    this.plot = null;
    this.index = null;
    const caption = figure.querySelector("figcaption");
    this.values = this.config.lines.map(() => made("strong", {textContent: "\u2013"}));
    this.when = made("span", {className: "when"});
    const lines = this.config.lines.map((line, index) => (
      made("li", {}, [markOf(this.config, index), made("span", {textContent: line.name}), this.values[index]])
    ));
    const legend = made("ul", {className: "legend"}, lines);
    this.place = made("div", {className: "plot", tabIndex: 0});
    this.place.setAttribute("role", "group");
    this.place.setAttribute("aria-roledescription", "chart");
    this.place.setAttribute("aria-label", `${caption?.textContent.trim()}: arrow keys read the figures`);
    this.told = made("p", {className: "visually-hidden"});
    this.told.setAttribute("aria-live", "polite");
    this.fault = made("p", {className: "fault", hidden: true});
    caption?.append(this.when);
    figure.append(legend, this.place, this.fault, this.told);
    figure.setAttribute("aria-busy", "true");
    this.place.addEventListener("keydown", (event) => this.onKey(event));
    this.place.addEventListener("blur", () => this.plot?.setCursor({left: -10, top: -10}));
    new ResizeObserver(() => this.fit()).observe(this.place);
  }

  /** Take figures in. */
  show(figures) {
    this.figures = figures;
    this.fault.hidden = true;
    if (this.plot) this.plot.setData(columnsOf(this.config, figures));
    else this.redraw();
    this.point(null);
    this.figure.removeAttribute("aria-busy");
  }

  /** Say what went wrong; figures that are there stay. */
  fail(words) {
    this.fault.textContent = words;
    this.fault.hidden = false;
    this.figure.removeAttribute("aria-busy");
  }

  redraw() {
    this.plot?.destroy();
    if (this.figures) this.plot = draw(this.place, this.config, this.figures, (index) => this.point(index));
  }

  fit() {
    const width = this.place.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({width, height: this.plot.height});
  }

  /** Tell the figures at a place, or where nobody points those of the last step that has any. */
  point(index) {
    this.index = index;
    const {lines} = this.config;
    const last = (column) => column.findLastIndex((value) => value !== null && value !== undefined);
    const shown = index ?? Math.max(...lines.map((line) => last(this.figures[line.key] ?? [])));
    lines.forEach((line, place) => {
      this.values[place].textContent = this.write(this.figures[line.key]?.[shown]);
    });
    const time = this.figures.times[shown];
    this.when.textContent = time === undefined ? "no figures yet" : fullMoment(time, this.figures.step_seconds ?? 0);
  }

  onKey(event) {
    const count = this.figures?.times.length ?? 0;
    const from = this.index ?? count;
    const to = event.key === "Home" ? 0 : event.key === "End" ? count - 1 : from + (STEPS[event.key] ?? NaN);
    if (!this.plot || Number.isNaN(to) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const index = Math.min(Math.max(to, 0), count - 1);
    this.plot.setCursor({left: this.plot.valToPos(this.figures.times[index], "x"), top: 10});
    this.point(index);
    const figures = this.config.lines.map((line, place) => `${line.name} ${this.values[place].textContent}`);
    this.told.textContent = [this.when.textContent, ...figures].join(", ");
  }
}

/** Fetch what the charts of a URL tell. */
async function refresh(url) {
  const source = sources.get(url);
  source.at = Date.now();
  try {
    const answer = await fetch(url, {headers: {accept: "application/json"}});
    if (!answer.ok || !answer.headers.get("content-type")?.startsWith("application/json")) throw new Error(answer.statusText);
    const figures = await answer.json();
    for (const chart of source.charts) chart.show(figures);
  } catch {
    const again = source.charts.some((chart) => chart.config.every) ? "It is tried again." : "Load the page again.";
    for (const chart of source.charts) chart.fail(`The figures could not be fetched. ${again}`);
  }
}

function refreshWhatIsDue() {
  if (document.hidden || "still" in document.body.dataset) return;
  for (const [url, source] of sources) {
    const every = Math.min(...source.charts.map((chart) => chart.config.every ?? Infinity));
    if (Date.now() - source.at >= every * SECOND) refresh(url);
  }
}

const charts = [...document.querySelectorAll("figure[data-chart]")].map((figure) => new Chart(figure));
for (const chart of charts) {
  const {url, data} = chart.config;
  if (data) chart.show(data);
  else if (sources.has(url)) sources.get(url).charts.push(chart);
  else sources.set(url, {charts: [chart], at: 0});
}
for (const url of sources.keys()) refresh(url);
setInterval(refreshWhatIsDue, SECOND);
for (const name of ["visibilitychange", "gateway:still"]) document.addEventListener(name, refreshWhatIsDue);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.redraw()));
