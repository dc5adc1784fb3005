// One series drawn by uPlot, and the numbers that are drawn, tabled and read out alike.

/* global uPlot */

import { label, shift } from "./calendar.js";
import { seenSteps } from "./request.js";
import { repeatSeason } from "./series.js";

export const HISTORY = { key: "history", name: "history", colour: "--ink", width: 1.5 };
export const HAPPENED = { key: "happened", name: "what happened", colour: "--ink", width: 1, dots: true };
const MODELS = [
  { colour: "--line-1", band: "--band-1", width: 2.25 },
  { colour: "--line-2", width: 1.75, dash: [9, 3] },
  { colour: "--line-3", width: 1.75, dash: [5, 3] },
  { colour: "--line-4", width: 1.75, dash: [9, 3, 2, 3] },
];
const BASELINES = {
  naive: { key: "naive", name: "naive (in this browser)", colour: "--line-naive", width: 1.5, dash: [2, 3] },
  seasonal: { key: "seasonal", name: "seasonal naive (in this browser)", colour: "--line-seasonal", width: 1.5, dash: [4, 2] },
};

/** Seconds, or steps, of the first `length` steps of a series; kept, for it is asked for often. */
export function axisOf(data, series, length) {
  const divisor = data.freq.unit === "step" ? 1 : 1000;
  series.axis ??= [];
  for (let i = series.axis.length; i < length; i++) series.axis.push(shift(data.freq, series.start, i) / divisor);
  return series.axis.length === length ? series.axis : series.axis.slice(0, length);
}

/**
 * What is to be shown of one series.
 *
 * @param answers [[model's name, answer or null]], the one in question first
 * @param baselines {naive: boolean, seasonal: season in steps or 0}
 * @returns {id, seen, steps, stamps: of the forecast, actual, lines: [{…style, values, mean, bands}],
 *   problems}
 */
export function forecastsOf(data, id, cut, answers, baselines, horizon) {
  const series = data.series.get(id), seen = seenSteps(data, series, cut);
  const lines = [], problems = [], notes = [];
  let steps = 0;
  answers.forEach(([name, answer], i) => {
    const found = answer?.forecasts.find((f) => f.id === id);
    const problem = answer?.errors.find((e) => e.id === id);
    if (problem) problems.push({ name, ...problem });
    if (!found) return;
    if (found.notes) notes.push(...found.notes.map((n) => ({ name, ...n })));
    steps = Math.max(steps, found.mean.length);
    const levels = Object.keys(found.quantiles).map(Number).sort((a, b) => a - b);
    const bands = [];
    for (let k = 0; k < levels.length >> 1; k++) {
      const low = levels[k], high = levels.at(-1 - k);
      bands.push({ percent: Math.round((high - low) * 1e4) / 100, low: found.quantiles[low], high: found.quantiles[high] });
    }
    const style = MODELS[i % MODELS.length];
    lines.push({ ...style, key: `model:${name}`, name, version: answer.model.version, values: found.quantiles["0.5"], quantiles: found.quantiles, mean: found.mean, bands });
  });
  if (!steps) steps = Number.isInteger(horizon) && horizon > 0 ? Math.min(horizon, 5000) : 0;
  const y = series.y.slice(0, seen);
  if (seen && baselines.naive) lines.push({ ...BASELINES.naive, values: repeatSeason(y, steps), bands: [] });
  if (seen && baselines.seasonal) lines.push({ ...BASELINES.seasonal, values: repeatSeason(y, steps, baselines.seasonal), bands: [] });
  const actual = Array.from({ length: steps }, (_, j) => series.y[seen + j] ?? null);
  return { id, series, seen, steps, actual, lines, problems, notes };
}

/** Rows that uPlot takes: all of one length, null where a line says nothing. */
export function drawingOf(data, shown, season, everything, narrow) {
  const { series, seen, steps, lines } = shown, n = series.y.length, total = Math.max(n, seen + steps);
  const x = axisOf(data, series, total);
  const spread = (values) => {
    const out = new Array(total).fill(null);
    for (let j = 0; j < values.length; j++) out[seen + j] = values[j];
    return out;
  };
  const history = new Array(total).fill(null), happened = new Array(total).fill(null);
  for (let i = 0; i < n; i++) (i < seen ? history : happened)[i] = series.y[i];
  const models = lines.filter((line) => line.mean);
  // The model in question has its fan; of the others, the edges of the widest interval.
  const bands = models.flatMap((line) => (line.band ? line.bands : line.bands.slice(0, 1)).map((band) => (
    { colour: line.band ?? line.colour, outline: !line.band, low: spread(band.low), high: spread(band.high) })));
  // Dashes go over the solid line, or nobody would see them where models agree.
  const drawn = [{ ...HISTORY, values: history }, ...lines.map((line) => ({ ...line, values: spread(line.values) }))];
  if (seen < n) drawn.push({ ...HAPPENED, values: happened, dots: n - seen <= 200 });
  const recent = Math.max(4 * steps, 3 * season, 30) / (narrow ? 2 : 1);
  const from = Math.max(0, seen - Math.round(recent)), to = Math.min(total - 1, seen + Math.max(2 * steps, 10) - 1);
  const window = everything ? null : [x[from], x[Math.max(to, Math.min(total - 1, from + 1))]];
  return { x, time: data.freq.unit !== "step", lines: drawn, bands, cut: seen ? x[seen - 1] : null, window };
}

/** What stands at one step of a series: [[name, value or [low, high]]]. */
export function at(data, shown, index) {
  const { series, seen, lines } = shown, j = index - seen, found = [];
  const value = series.y[index];
  if (index < seen) found.push([HISTORY.name, value ?? null]);
  else {
    if (index < series.y.length) found.push([HAPPENED.name, value ?? null]);
    for (const line of lines) {
      if (j >= line.values.length) continue;
      found.push([line.name, line.values[j]]);
      for (const band of line.bands) found.push([`${band.percent} %`, [band.low[j], band.high[j]]]);
    }
  }
  return { stamp: label(data.freq, shift(data.freq, series.start, index)), found };
}

/** How far each line lay from what happened: mean absolute error, and steps inside intervals. */
export function errorsOf(shown) {
  const known = shown.actual.map((_, j) => j).filter((j) => shown.actual[j] !== null);
  if (!known.length) return null;
  const lines = shown.lines.map((line) => {
    const off = known.filter((j) => line.values[j] !== null && line.values[j] !== undefined);
    const error = off.reduce((sum, j) => sum + Math.abs(line.values[j] - shown.actual[j]), 0) / off.length;
    const inside = line.bands.map((band) => ({
      percent: band.percent,
      count: known.filter((j) => band.low[j] <= shown.actual[j] && shown.actual[j] <= band.high[j]).length,
    }));
    return { ...line, error: off.length ? error : null, inside };
  });
  return { steps: known.length, lines };
}

const POINT = 5;

/** Places of values with none beside them: a line alone would not show them. */
function alone(values) {
  const found = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) found.push(i);
  }
  return found;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * Draws into `place`; `read(index)` is told where the reader points, null for nowhere.
 *
 * @param drawing {x, time, lines: [{values, colour, dash, width, dots}], bands: [{low, high, colour}],
 *   cut: x of the last value seen, window: [from, to] or null}
 */
export class Chart {
  constructor(place, drawing, read) {
    this.place = place;
    this.drawing = drawing;
    this.read = read;
    this.index = null;
    this.plot = null;
    this.draw();
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(place);
    place.addEventListener("keydown", (event) => this.key(event));
    place.addEventListener("blur", () => this.point(null));
  }

  size() {
    const width = Math.max(this.place.clientWidth, 200);
    return { width, height: width < 520 ? 220 : 280 };
  }

  fit() {
    const size = this.size();
    if (this.plot && size.width !== this.plot.width) this.plot.setSize(size);
  }

  /** Once more with other values: the view stays where the reader has put it. */
  update(drawing) {
    const moved = this.moved ? { ...this.plot.scales.x } : null;
    this.drawing = drawing;
    this.plot.destroy();
    this.draw();
    if (moved) this.plot.setScale("x", { min: moved.min, max: moved.max });
  }

  draw() {
    const { x, time, lines, bands, cut } = this.drawing;
    const ink = css("--muted"), grid = css("--grid");
    const data = [x], series = [{}], filled = [];
    for (const { low, high, colour, outline } of bands) {
      if (!outline) filled.push({ series: [data.length, data.length + 1], fill: css(colour) });
      for (const values of [high, low]) {
        data.push(values);
        series.push({ stroke: css(colour), width: 1, dash: outline ? [1, 3] : undefined, points: { show: false } });
      }
    }
    for (const { values, colour, dash, width, dots } of lines) {
      const single = alone(values);
      data.push(values);
      series.push({
        stroke: css(colour),
        // Hairlines are drawn several times faster, and long lines are dense.
        width: values.length > 1000 ? 1 : width,
        dash,
        points: dots ? { show: true, size: POINT, fill: css(colour) } : { show: single.length > 0, size: POINT, fill: css(colour), filter: () => single },
      });
    }
    const axis = { stroke: ink, font: "12px system-ui, sans-serif", grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 5 } };
    const options = {
      ...this.size(),
      pxAlign: 0,
      padding: [10, 14, 0, 0],
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      scales: { x: { time, ...this.range() } },
      axes: [{ ...axis, size: time ? 46 : 32 }, { ...axis, size: (u, values) => 16 + 7.2 * Math.max(2, ...(values ?? []).map((v) => String(v).length)), values: (u, splits) => splits.map(short) }],
      series,
      bands: filled,
      cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false, setScale: true }, sync: { key: "gatecast" } },
      hooks: {
        setCursor: [(u) => this.point(u.cursor.idx ?? null, false)],
        setSelect: [(u) => { if (u.select.width > 0) this.moved = true; }],
        drawAxes: [(u) => this.mark(u, cut)],
      },
    };
    this.plot = new uPlot(options, data, this.place);
    this.plot.over.addEventListener("dblclick", () => this.whole());
  }

  range() {
    const { window, x } = this.drawing;
    const [from, to] = window ?? [x[0], x.at(-1)];
    return { min: from, max: to > from ? to : from + 1 };
  }

  /** The line between what a forecast saw and what it did not. */
  mark(u, cut) {
    if (cut === null) return;
    const at = u.valToPos(cut, "x", true), { top, height, left, width } = u.bbox;
    if (at < left || at > left + width) return;
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = css("--muted");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(at, top);
    ctx.lineTo(at, top + height);
    ctx.stroke();
    ctx.restore();
  }

  point(index, byKey = false) {
    if (index === this.index && !byKey) return;
    this.index = index;
    this.read(index, byKey);
  }

  whole() {
    this.moved = true;
    const { x } = this.drawing;
    this.plot.setScale("x", { min: x[0], max: Math.max(x.at(-1), x[0] + 1) });
  }

  home() {
    this.moved = false;
    this.plot.setScale("x", this.range());
  }

  key(event) {
    const { x } = this.drawing, { min, max } = this.plot.scales.x;
    const from = x.findIndex((v) => v >= min), to = x.findLastIndex((v) => v <= max);
    const seen = x.findLastIndex((v) => this.drawing.cut !== null && v <= this.drawing.cut);
    const at = this.index ?? Math.max(from, seen);
    const moves = { ArrowLeft: at - 1, ArrowRight: this.index === null ? at : at + 1, PageUp: at - 10, PageDown: at + 10, Home: from, End: to };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) this.show(Math.min(Math.max(moves[event.key], 0), x.length - 1));
    else if (event.key === "+" || event.key === "=") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "0") this.home();
    else if (event.key === "Escape") this.hide();
    else return;
    event.preventDefault();
  }

  show(index) {
    const value = this.drawing.x[index], { min, max } = this.plot.scales.x;
    if (value < min || value > max) {
      const half = (max - min) / 2;
      this.moved = true;
      this.plot.setScale("x", { min: value - half, max: value + half });
    }
    this.plot.setCursor({ left: this.plot.valToPos(value, "x"), top: 0 }, false);
    this.point(index, true);
  }

  hide() {
    this.plot.setCursor({ left: -10, top: -10 }, false);
    this.point(null);
  }

  zoom(factor) {
    const { min, max } = this.plot.scales.x, { x } = this.drawing;
    const middle = this.index === null ? max - (max - min) / 4 : x[this.index];
    this.moved = true;
    this.plot.setScale("x", { min: Math.max(x[0], middle - (middle - min) * factor), max: Math.min(x.at(-1), middle + (max - middle) * factor) });
  }

  close() {
    this.observer.disconnect();
    this.plot.destroy();
  }
}

/** A number for an axis or a read-out, as short as it is exact enough. */
export function short(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size >= 1e9 || (size < 1e-4 && size > 0)) return value.toExponential(3).replace(/\.?0+e/, "e");
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 4;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

/** All charts below each other, with their names and the legend, as one picture. */
export function picture(charts, legend) {
  const ratio = devicePixelRatio, line = 26 * ratio, edge = 14 * ratio;
  const canvases = charts.map(({ name, chart }) => [name, chart.plot.ctx.canvas]);
  const width = Math.max(...canvases.map(([, c]) => c.width)) + 2 * edge;
  const height = canvases.reduce((sum, [, c]) => sum + c.height + line, 0) + 2 * edge + line;
  const out = document.createElement("canvas");
  [out.width, out.height] = [width, height];
  const ctx = out.getContext("2d");
  ctx.fillStyle = css("--surface");
  ctx.fillRect(0, 0, width, height);
  let y = edge;
  for (const [name, canvas] of canvases) {
    ctx.fillStyle = css("--ink");
    ctx.font = `600 ${14 * ratio}px system-ui, sans-serif`;
    ctx.fillText(name, edge + 4 * ratio, y + 16 * ratio);
    ctx.drawImage(canvas, edge, y + line);
    y += canvas.height + line;
  }
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  let x = edge + 4 * ratio;
  for (const { name, colour, dash, width: thick } of legend) {
    const wide = ctx.measureText(name).width + 46 * ratio;
    if (x + wide > width) break;
    ctx.strokeStyle = css(colour);
    ctx.lineWidth = thick * ratio;
    ctx.setLineDash((dash ?? []).map((d) => d * ratio));
    ctx.beginPath();
    ctx.moveTo(x, y + 14 * ratio);
    ctx.lineTo(x + 22 * ratio, y + 14 * ratio);
    ctx.stroke();
    ctx.fillStyle = css("--ink");
    ctx.fillText(name, x + 28 * ratio, y + 18 * ratio);
    x += wide;
  }
  return new Promise((done) => out.toBlob(done, "image/png"));
}
