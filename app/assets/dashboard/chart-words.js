/** How are the figures of a chart written? In the words of the server (`wording.py`), short enough for an axis. */

const NOTHING = "\u2013";
const SPACE = "\u202f";
const THOUSAND = 1000;
const DAY_SECONDS = 86400;

/** A rate with as many digits as tell something: 0.25, 3.1, 120. */
function rate(number) {
  if (number === 0) return "0";
  return number.toFixed(number >= 100 ? 0 : number >= 1 ? 1 : 2);
}

/** A whole number with narrow spaces: 1 234 567. */
function count(number) {
  return Math.round(number).toLocaleString("en").replaceAll(",", SPACE);
}

/** A large number in short: 950, 12.3 k, 4.5 M. */
function tokens(number) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(number) >= size) return `${(number / (unit === "k" ? THOUSAND : size)).toFixed(1)}${SPACE}${unit}`;
  }
  return number !== 0 && Math.abs(number) < 10 ? rate(number) : count(number);
}

/** Seconds: 0.4 ms, 120 ms, 1.3 s, 40 s. */
function seconds(number) {
  if (number === 0) return `0${SPACE}s`;
  if (number < 1) return `${(number * THOUSAND).toFixed(number < 0.01 ? 1 : 0)}${SPACE}ms`;
  return `${number.toFixed(number < 10 ? 1 : 0)}${SPACE}s`;
}

/** A part of a whole: 0 %, 0.5 %, 12 %. */
function share(number) {
  const percent = number * 100;
  return `${percent.toFixed(percent === 0 || percent >= 10 ? 0 : 1)}${SPACE}%`;
}

const FORMATS = {rate, count, tokens, seconds, share};

/**
 * Give what writes figures of one kind; a gap is written as a dash.
 * @param {string} name rate, count, tokens, seconds or share.
 * @returns {(number: number|null|undefined) => string}
 */
export function writer(name) {
  const write = FORMATS[name] ?? count;
  return (number) => (number === null || number === undefined ? NOTHING : write(number));
}

/**
 * Write a moment of the x axis, in the time of whoever looks.
 * @param {number} time Unix seconds.
 * @param {number} stepSeconds how far apart the marks are: days need no time of day.
 */
export function moment(time, stepSeconds) {
  const instant = new Date(time * THOUSAND);
  if (stepSeconds >= DAY_SECONDS) return instant.toLocaleDateString("en-GB", {weekday: "short", day: "numeric"});
  const clock = {hour: "2-digit", minute: "2-digit", ...(stepSeconds < 60 ? {second: "2-digit"} : {})};
  return instant.toLocaleTimeString("en-GB", clock);
}

/** Write a moment in full, as it stands beside figures that are so many seconds apart. */
export function fullMoment(time, stepSeconds) {
  const instant = new Date(time * THOUSAND);
  const isToday = instant.toDateString() === new Date().toDateString();
  const day = isToday ? {} : {weekday: "short", day: "numeric", month: "short"};
  const seconds = stepSeconds < 60 ? {second: "2-digit"} : {};
  return instant.toLocaleString("en-GB", {...day, hour: "2-digit", minute: "2-digit", ...seconds});
}
