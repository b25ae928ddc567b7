/**
 * How is one chart drawn? uPlot with our colours, which are those of the style sheet at the moment, and a legend that
 * tells lines apart by more than colour. Nothing here asks for figures.
 */

import {moment, writer} from "./chart-words.js";

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
const HEIGHT = 170;
const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6];
const LEAST_PIXELS_A_MARK = 56;

/** Read a colour of the style sheet. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The colour of a line, by its place. */
export function lineColour(index) {
  return colour(`--series-${(index % 6) + 1}`);
}

/** How a line is dashed, by its place. */
export function lineDash(index) {
  return DASHES[index % DASHES.length];
}

/** Points without a neighbour would not be seen as a line. */
function lonely(plot, seriesIndex) {
  const values = plot.data[seriesIndex];
  const isGap = (index) => values[index] === null || values[index] === undefined;
  return values.flatMap((value, index) => (!isGap(index) && isGap(index - 1) && isGap(index + 1) ? [index] : []));
}

/** The same colour, so thin that lines are seen through it. */
function faded(opaque) {
  return /^#[0-9a-f]{6}$/i.test(opaque) ? `${opaque}24` : "transparent";
}

/** What uPlot is to draw: times first, then a column for each line. */
export function columnsOf(config, figures) {
  return [figures.times, ...config.lines.map((line) => figures[line.key] ?? [])];
}

function seriesOf(config, line, index) {
  const stroke = () => lineColour(index);
  const common = {label: line.name, scale: "y", stroke, width: 2};
  if (config.kind === "bars") {
    const paths = globalThis.uPlot.paths.bars({size: [0.7, 48], align: 1});
    return {...common, width: 0, fill: stroke, paths, points: {show: false}};
  }
  const points = {show: true, size: 6, fill: stroke, filter: lonely};
  const fill = config.kind === "area" ? () => faded(lineColour(index)) : undefined;
  return {...common, dash: lineDash(index), points, fill};
}

function axes(config) {
  const ink = () => colour("--ink-soft");
  const line = {stroke: () => colour("--line"), width: 1};
  const write = writer(config.format);
  const font = "12px system-ui, sans-serif";
  return [
    {
      stroke: ink, grid: {show: false}, ticks: {...line, size: 4}, font, space: LEAST_PIXELS_A_MARK, size: 24,
      values: (plot, marks, axis, space, step) => marks.map((mark) => moment(mark, step)),
    },
    {
      stroke: ink, grid: line, ticks: {show: false}, font, scale: "y", space: 34,
      size: (plot, texts) => 14 + Math.max(24, ...(texts ?? []).map((text) => text.length * 7)),
      values: (plot, marks) => marks.map(write),
      ...(config.format === "count" ? {incrs: WHOLE_STEPS} : {}),
    },
  ];
}

/** How high a chart is in which nothing ever happened. */
const LEAST_HEIGHTS = {share: 0.05, count: 4};

/** From nothing to a little above the highest; never without height. */
function heightOf(format) {
  return (plot, lowest, highest) => [0, Math.max(highest * 1.08, highest > 0 ? 0 : LEAST_HEIGHTS[format] ?? 1)];
}

/**
 * Draw a chart into an element.
 * @param {HTMLElement} place where; as wide as the chart is to be.
 * @param {object} config what the page says of the chart.
 * @param {object} figures times and columns.
 * @param {(index: number|null) => void} onPoint told where the pointer or the keyboard is; null: nowhere.
 */
export function draw(place, config, figures, onPoint) {
  const options = {
    width: Math.max(place.clientWidth, 120),
    height: HEIGHT,
    padding: [8, 20, 0, 0],
    legend: {show: false},
    cursor: {y: false, drag: {x: false, y: false}, points: {size: 8, show: config.kind !== "bars"}},
    scales: {x: {time: true}, y: {range: heightOf(config.format)}},
    axes: axes(config),
    series: [{}, ...config.lines.map((line, index) => seriesOf(config, line, index))],
    hooks: {setCursor: [(plot) => onPoint(plot.cursor.idx ?? null)]},
  };
  return new globalThis.uPlot(options, columnsOf(config, figures), place);
}
