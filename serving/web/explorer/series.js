// Series on the model's grid, from a table or from a request's body, and what simply repeats them.

import { inferFreq, isMonthEnd, label, sameStep, spoken, steps, subDaily, toEdge } from "./calendar.js";
import { checkRoles, isMissing, markOf, readNumbers, readStamps, TableError } from "./table.js";
import { countsIn, datesIn } from "./whole.js";

const TO_INGEST = "`gatecast ingest` resamples, joins and repairs tables, and says what it did.";
const FULLEST = 20; // steps of a grid for each row of the table, and some

/**
 * {series: Map of id to {id, start, y, ahead, covariates, lines}, freq, offset, notes, read}.
 *
 * `y` covers the history up to its last value, with null where there is none; columns of
 * `covariates` go on for `ahead` rows more, those with a stamp and no value yet.
 *
 * @param options {freq: the model's, schema, order, mark, name: of a table of one series}
 */
export function seriesOf(table, roles, options) {
  checkRoles(table, roles);
  const { freq: wanted, schema, order, name } = options, notes = [...table.notes, ...roles.notes];
  const counted = wanted.unit === "step";
  const stamps = readStamps(table.columns[roles.ds], { order, counted, wall: !subDaily(wanted) });
  const dsName = table.names[roles.ds];
  if (!stamps) {
    throw new TableError(
      `Column ${dsName} holds no stamps that this page reads, such as ${table.columns[roles.ds].find((c) => c.trim()) ?? "nothing"}.`,
      `Write them as 2026-01-31 or 2026-01-31 04:00, or choose another column. ${TO_INGEST}`,
      "columns",
    );
  }
  if (stamps.whole && !counted) {
    throw new TableError(`Column ${dsName} counts steps, and this model reads a value per ${spoken(wanted)}.`, "Choose a column of dates, or a model that counts steps.", "columns");
  }
  if (stamps.whole) tellSteps(stamps.values, dsName, notes);
  if (stamps.bad.length) notes.push(lost(stamps.bad, table, roles.ds, "no stamp", "the row was left out"));
  const mark = markOf(table, roles, schema, options.mark);
  if (mark.note) notes.push(mark.note);
  const groups = grouped(table, roles, stamps, mark.mark, name, notes);
  const found = inferFreq(groups.longest, stamps.whole) ?? wanted;
  const freq = counted && !stamps.whole ? found : wanted;
  if (counted && !stamps.whole) notes.push(`the model counts steps: the table's stamps, one per ${spoken(found)}, are numbered 1, 2, 3 … for it`);
  const move = edges(freq, found, stamps, notes);
  const columns = covariateColumns(table, roles, schema, mark.mark, notes);
  const series = new Map();
  for (const group of groups.list) {
    const laid = lay(group, { freq, found, move, table, stamps, columns, dsName });
    if (laid.y.length) series.set(group.id, laid);
    else notes.push(`series ${group.id} holds no value and was left out`);
  }
  if (!series.size) throw new TableError("No series holds a value.", "Choose another column as the value under Columns.", "columns");
  note(series, notes);
  return {
    series, freq, notes, offset: stamps.offset, numbered: counted && !stamps.whole,
    read: { format: stamps.format, mark: mark.mark, moved: move !== null, rows: table.lines.length, found, whole: stamps.whole },
  };
}

/** Refuse whole numbers that are dates, and say what plain steps may count. */
function tellSteps(values, dsName, notes) {
  const distinct = [...new Set(values)].filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
  const dates = datesIn(distinct);
  if (dates) {
    throw new TableError(
      `Column ${dsName} holds whole numbers such as ${distinct[0]} that look like ${dates}, and the model counts steps.`,
      "Write them as dates (2026-01-31), or number the rows 1, 2, 3 … in the order of time.",
      "columns",
    );
  }
  const counts = countsIn(distinct);
  if (counts.length) notes.push(`${dsName} holds whole numbers such as ${distinct[0]}, read as plain steps; if they count time they begin at ${counts.join("; or at ")}`);
}

function lost(places, table, column, what, then) {
  const cell = table.columns[column][places[0]];
  const many = places.length === 1 ? "1 cell" : `${places.length} cells`;
  return `${many} of ${table.names[column]} ${places.length === 1 ? "is" : "are"} ${what}, such as ${JSON.stringify(cell)} in line ${table.lines[places[0]]}: ${then}`;
}

/** Rows by series, in time; `longest` are stamps of the series with the most of them. */
function grouped(table, roles, stamps, mark, name, notes) {
  const groups = new Map();
  const read = (column) => {
    const { values, bad } = readNumbers(table.columns[column], mark);
    if (bad.length > values.length / 2) {
      throw new TableError(`Column ${table.names[column]} holds no numbers, but such as ${JSON.stringify(table.columns[column][bad[0]])} in line ${table.lines[bad[0]]}.`, "Choose another column as the value under Columns.", "columns");
    }
    if (bad.length) notes.push(lost(bad, table, column, "no number", "taken as missing"));
    return values;
  };
  const several = roles.layout === "wide" ? roles.values : [roles.y];
  for (const column of several) {
    const values = read(column);
    for (let r = 0; r < values.length; r++) {
      if (Number.isNaN(stamps.values[r])) continue;
      let id = name;
      if (roles.ids.length || roles.layout === "wide") {
        const parts = roles.ids.map((c) => table.columns[c][r].trim());
        if (roles.layout === "wide") parts.push(table.names[column]);
        id = parts.join("/");
      }
      if (!id) continue;
      let group = groups.get(id);
      if (!group) groups.set(id, (group = { id, rows: [], values: [] }));
      group.rows.push(r);
      group.values.push(values[r]);
    }
  }
  const list = [...groups.values()];
  for (const group of list) {
    const { rows, values } = group, at = (i) => stamps.values[rows[i]];
    if (!rows.some((_, i) => i && at(i) < at(i - 1))) continue;
    const order = rows.map((_, i) => i).sort((a, b) => at(a) - at(b));
    group.rows = order.map((i) => rows[i]);
    group.values = order.map((i) => values[i]);
  }
  const most = list.reduce((a, b) => (b.rows.length > (a?.rows.length ?? 0) ? b : a), null);
  const longest = [...new Set(most?.rows.slice(0, 5000).map((r) => stamps.values[r]))];
  return { list, longest };
}

/** How stamps are moved to the day the model stamps its months with; null where they lie on it. */
function edges(freq, found, stamps, notes) {
  if (freq.unit !== "month" || found.unit !== "month") return null;
  const distinct = [...new Set(stamps.values)].filter((v) => !Number.isNaN(v));
  const ends = distinct.every(isMonthEnd), starts = distinct.every((s) => new Date(s).getUTCDate() === 1);
  if (ends === freq.end || (!ends && !starts)) return null;
  notes.push(`the model stamps a ${spoken(freq)} with its ${freq.end ? "last" : "first"} day: the table's stamps were moved there`);
  return (stamp) => toEdge(freq, stamp, ends);
}

function covariateColumns(table, roles, schema, mark, notes) {
  const found = [];
  for (const covariate of schema) {
    const c = roles.covariates[covariate.name];
    if (c === undefined) continue;
    let read;
    if (covariate.type === "real") {
      const { values, bad } = readNumbers(table.columns[c], mark);
      if (bad.length) notes.push(lost(bad, table, c, "no number", "taken as missing"));
      read = (r) => (Number.isNaN(values[r]) ? null : values[r]);
    } else {
      read = (r) => (isMissing(table.columns[c][r]) ? null : table.columns[c][r].trim());
    }
    found.push({ ...covariate, read });
  }
  return found;
}

function lay(group, { freq, found, move, table, stamps, columns, dsName }) {
  const { rows, values } = group;
  const stampOf = (r) => (move ? move(stamps.values[r]) : stamps.values[r]);
  const start = stampOf(rows[0]);
  const places = rows.map((r) => steps(freq, start, stampOf(r)));
  const off = places.findIndex((place) => !Number.isInteger(place));
  const where = (i) => `line ${table.lines[rows[i]]}: ${label({ ...freq, unit: freq.unit === "month" ? "time" : freq.unit, size: 864e5 }, stamps.values[rows[i]])}`;
  const other = !sameStep(found, freq) ? `The table has a value per ${spoken(found)}, the model reads one per ${spoken(freq)}` : "";
  if (off >= 0) {
    throw new TableError(
      other ? `${other} (series ${group.id}, ${where(off)}).` : `Series ${group.id}, ${where(off)} does not lie a whole ${spoken(freq)} after the series' first stamp.`,
      `Choose a model of that step, or bring the table to the model's. ${TO_INGEST}`,
      "model",
    );
  }
  const again = places.findIndex((place, i) => i && place === places[i - 1]);
  if (again >= 0) {
    throw new TableError(
      `Series ${group.id} has two rows for one ${dsName}, in lines ${table.lines[rows[again - 1]]} and ${table.lines[rows[again]]}.`,
      `Choose the column that tells the series apart under Columns, or keep one of the rows. ${TO_INGEST}`,
      "columns",
    );
  }
  const span = places.at(-1) + 1;
  // A weekly table lies on a daily grid, too: six values in seven would be missing.
  if (other ? span > 2 * rows.length : span > FULLEST * rows.length + 1000) {
    throw new TableError(`${other || `Series ${group.id} has ${rows.length} rows over ${span} steps`}.`, `Choose a model of that step. ${TO_INGEST}`, "model");
  }
  let size = 0;
  values.forEach((value, i) => { if (!Number.isNaN(value)) size = places[i] + 1; });
  const y = new Array(size).fill(null), lines = new Array(size).fill(0);
  const covariates = {};
  for (const { name, role } of columns) covariates[name] = role === "static" ? null : new Array(span).fill(null);
  places.forEach((place, i) => {
    if (place < size) {
      y[place] = Number.isNaN(values[i]) ? null : values[i];
      lines[place] = table.lines[rows[i]];
    }
    for (const { name, role, read } of columns) {
      const value = read(rows[i]);
      if (role === "static") covariates[name] ??= value;
      else covariates[name][place] = value;
    }
  });
  return { id: group.id, start, y, ahead: span - size, covariates, lines };
}

/** What was found over all series. */
function note(series, notes) {
  let gaps = 0, ahead = 0, missing = 0;
  for (const { y, lines, ahead: more } of series.values()) {
    y.forEach((value, i) => {
      if (value === null) lines[i] ? missing++ : gaps++;
    });
    if (more) ahead++;
  }
  if (missing) notes.push(`${count(missing, "value")} missing in the table`);
  if (gaps) notes.push(`${count(gaps, "stamp")} not in the table: taken as missing values`);
  if (ahead) notes.push(`rows without a value after a series' last one are taken as what is known ahead (${count(ahead, "series", "series")})`);
}

export const count = (n, word, words = `${word}s`) => `${n.toLocaleString("en")} ${n === 1 ? word : words}`;

/** The series of a body as `POST /v1/forecast` takes it, such as a model's example. */
export function seriesOfBody(body, freq) {
  const series = new Map();
  for (const { id, start, y, past = {}, future = {}, static: fixed = {} } of body.series) {
    const begin = freq.unit === "step" ? start : Date.parse(/T/.test(start) ? `${start.replace(/Z$/, "")}Z` : `${start}T00:00:00Z`);
    const covariates = { ...past, ...fixed };
    let ahead = 0;
    for (const [name, values] of Object.entries(future)) {
      const whole = values.length > y.length;
      covariates[name] = whole ? values : [...new Array(y.length).fill(null), ...values];
      ahead = covariates[name].length - y.length;
    }
    series.set(id, { id, start: begin, y, ahead, covariates, lines: [] });
  }
  return { series, freq, notes: [], offset: null, numbered: false, read: null };
}

/**
 * The last observed value of each position of the season, repeated, as
 * `forecasting.evaluation.baselines` does it; a season of 1 is the naive forecast. A history shorter
 * than a season, and a position that was never observed, repeat the last value.
 */
export function repeatSeason(y, horizon, season = 1) {
  let last = null;
  const seen = new Array(season).fill(null);
  for (let i = 0; i < y.length; i++) {
    if (y[i] === null) continue;
    last = y[i];
    seen[i % season] = y[i];
  }
  const whole = y.length >= season;
  return Array.from({ length: horizon }, (_, j) => (whole ? seen[(y.length + j) % season] ?? last : last));
}
