// A table of text, read as ingestion reads the plain cases: cells, numbers, stamps, and what each
// column is.

import { inferFreq } from "./calendar.js";

/** What is wrong with a table, where, and what to do. */
export class TableError extends Error {
  constructor(message, cure = "", control = "") {
    super(message);
    this.cure = cure;
    this.control = control;
  }
}

const ELSEWHERE = "`gatecast ingest` reads and repairs many kinds of tables, and says what it did.";
const MISSING = new Set([
  "", "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "NAN", "null", "NULL", "Null", "None",
  "none", "nil", "-", "--", "---", "—", "–", ".", "..", "...", "?", "#VALUE!", "#REF!", "#DIV/0!",
  "#NUM!", "missing", "MISSING", "(null)", "\\N", "<NA>", "NaT", "k.A.", "n.a.",
]);

/** Bytes of a file as text, and what was taken for granted. */
export function decode(bytes, name) {
  const starts = (...codes) => codes.every((code, i) => bytes[i] === code);
  const other = (what, cure) => new TableError(`${name} is ${what}, not a table of text.`, cure);
  if (starts(0x50, 0x4b) || starts(0xd0, 0xcf, 0x11)) throw other("an Excel workbook or an archive", "Save the sheet as CSV.");
  if (starts(0x50, 0x41, 0x52, 0x31)) throw other("a Parquet file", ELSEWHERE);
  if (starts(0xff, 0xfe)) return [new TextDecoder("utf-16le").decode(bytes), ["read as UTF-16"]];
  if (starts(0xfe, 0xff)) return [new TextDecoder("utf-16be").decode(bytes), ["read as UTF-16"]];
  try {
    return [new TextDecoder("utf-8", { fatal: true }).decode(bytes), []];
  } catch {
    if (bytes.subarray(0, 4096).includes(0)) throw other("a binary file", ELSEWHERE);
    return [new TextDecoder("windows-1252").decode(bytes), ["not UTF-8: read as Windows-1252"]];
  }
}

/** {names, columns, lines, separator, notes}: cells by column, as written. */
export function parseTable(text, name = "the file") {
  text = text.replace(/^\ufeff/, "");
  const first = text.trimStart()[0];
  if (first === "{" || first === "[" || first === "<") {
    const kind = first === "<" ? "a page of HTML or XML" : "JSON";
    throw new TableError(`${name} is ${kind}, not a table of text.`, ELSEWHERE);
  }
  const separator = findSeparator(text);
  const [rows, lines] = split(text, separator);
  const notes = [];
  if (rows.length < 2) {
    throw new TableError(
      rows.length ? `${name} has a header and no rows.` : `${name} is empty.`,
      "A table has a line of names, then a line for each value.",
    );
  }
  const header = rows[0].map((cell) => cell.trim());
  while (header.length > 1 && header.at(-1) === "" && rows.every((r) => (r[header.length - 1] ?? "") === "")) {
    header.pop();
  }
  refuseHeadless(header, rows[1]);
  const seen = new Map();
  const names = header.map((cell, i) => {
    const plain = cell || `column ${i + 1}`;
    seen.set(plain, (seen.get(plain) ?? 0) + 1);
    return seen.get(plain) === 1 ? plain : `${plain} (${seen.get(plain)})`;
  });
  const columns = names.map(() => []), kept = [];
  let torn = 0, tornLine = 0;
  for (let r = 1; r < rows.length; r++) {
    const row = rows[r];
    while (row.length > names.length && row.at(-1) === "") row.pop();
    if (row.length !== names.length) {
      torn++;
      tornLine ||= lines[r];
      continue;
    }
    for (let c = 0; c < names.length; c++) columns[c].push(row[c]);
    kept.push(lines[r]);
  }
  if (torn) {
    const many = torn === 1 ? "1 line has" : `${torn} lines have`;
    notes.push(`${many} another number of cells than the header's ${names.length} and were left out; the first is line ${tornLine}`);
  }
  if (torn >= kept.length) {
    throw new TableError(
      `${name}: most lines have another number of cells than the header's ${names.length}; the first is line ${tornLine}.`,
      `Cells were split at ${shown(separator)}. ${ELSEWHERE}`,
    );
  }
  return { names, columns, lines: kept, separator, notes };
}

const shown = (separator) => ({ "\t": "tabs", ",": "commas", ";": "semicolons", "|": "|" })[separator];

function findSeparator(text) {
  const head = text.slice(0, 64 * 1024).replace(/"[^"]*"/g, "");
  const lines = head.split(/\r\n|\n|\r/).filter((l) => l.trim() && l[0] !== "#").slice(0, 200);
  let best = ",", most = 0;
  for (const mark of [";", "\t", "|", ","]) {
    const counts = lines.map((line) => line.split(mark).length);
    const usual = counts[0];
    const share = counts.filter((count) => count === usual).length / counts.length;
    if (usual > 1 && share > most) [best, most] = [mark, share];
  }
  return best;
}

/** Rows of cells, and the line of the file that each begins in. */
function split(text, separator) {
  const rows = [], lines = [];
  if (!text.includes('"')) {
    const all = text.split(/\r\n|\n|\r/);
    all.forEach((line, i) => {
      if (line !== "" && line[0] !== "#" && line.trim() !== "") {
        rows.push(line.split(separator));
        lines.push(i + 1);
      }
    });
    return [rows, lines];
  }
  let row = [], cell = "", quoted = false, wasQuoted = false, line = 1, begun = 1, opened = 0;
  const end = () => {
    row.push(cell);
    if ((row.length > 1 || row[0].trim() !== "") && !(row[0][0] === "#" && !wasQuoted)) {
      rows.push(row);
      lines.push(begun);
    }
    row = [];
    cell = "";
    begun = line;
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === "\n") line++;
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (c === '"' && cell === "") {
      quoted = wasQuoted = true;
      opened = line;
    } else if (c === separator) {
      row.push(cell);
      cell = "";
    } else if (c === "\n" || c === "\r") {
      if (c === "\r" && text[i + 1] === "\n") i++;
      line++;
      end();
      wasQuoted = false;
    } else cell += c;
  }
  if (quoted) {
    throw new TableError(`A quotation mark opened in line ${opened} is never closed.`, "Close it, or double marks that belong to the text.");
  }
  if (cell !== "" || row.length) end();
  return [rows, lines];
}

function refuseHeadless(header, below) {
  const like = (cell) => NUMBER.test(cell.trim()) || readers.some((r) => r.test.test(cell.trim()));
  const numbers = header.filter((cell) => NUMBER.test(cell) && !/^\d{4,8}$/.test(cell)).length;
  const stamped = header.some((cell, i) => !NUMBER.test(cell) && like(cell) && like((below[i] ?? "").trim()));
  if (numbers && (stamped || numbers === header.filter(Boolean).length)) {
    throw new TableError(
      `The table has no header: its first row (${header.slice(0, 4).join(", ")}) reads like the rows below it, and would be lost.`,
      "Write a line of names above it.",
    );
  }
}

// Numbers.

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const BLANKS = /[\s\u00a0\u2009\u202f'’_]/g;

/** The decimal mark that the columns agree on; a `TableError` where they do not. */
export function decimalMark(columns, names, separator) {
  let comma = null, point = null, grouped = null;
  columns.forEach((cells, c) => {
    for (const cell of cells) {
      if (!cell.includes(",") && !cell.includes(".")) continue;
      const text = bare(cell);
      if (!/^[+-]?[\d.,]+([eE][+-]?\d+)?$/.test(text)) continue;
      const place = { name: names[c], text: cell.trim() };
      if (/^[+-]?[\d.]*,(\d{1,2}|\d{4,})([eE].*)?$/.test(text) || /\.\d{3},\d+$/.test(text) || /^[+-]?0,\d+$/.test(text)) comma ??= place;
      else if (/,\d{3}\.\d*$/.test(text) || /^[+-]?\d*\.(\d{1,2}|\d{4,})([eE].*)?$/.test(text) || /^[+-]?0\.\d+$/.test(text)) point ??= place;
      else if (/^[+-]?\d{1,3}(\.\d{3}){2,}$/.test(text)) comma ??= place;
      else if (/^[+-]?\d{1,3}(,\d{3})+$/.test(text)) grouped ??= place;
    }
  });
  if (comma && point) {
    throw new TableError(
      `Two decimal marks: column ${comma.name} has ${comma.text}, column ${point.name} has ${point.text}.`,
      "Choose the decimal mark under Columns.",
      "decimal",
    );
  }
  if (comma) return { mark: ",", note: `decimal comma, as in ${comma.text}` };
  if (grouped && !point && separator === ";") return { mark: ",", note: `decimal comma: cells are separated by semicolons (${grouped.text})` };
  return { mark: ".", note: grouped ? `commas part the thousands, as in ${grouped.text}` : "" };
}

// A blank parts groups of three, as in 1 234, or of two before them, as in 1,23,456; 1 5 is no number.
const PARTED = /\d[\s\u00a0\u2009\u202f'’_]+\d/, GROUPS = /^\D*\d{1,3}(?:[\s\u00a0\u2009\u202f'’_](?:\d{2}[\s\u00a0\u2009\u202f'’_])*\d{3})+(?![\s\u00a0\u2009\u202f'’_]*\d)/;

const MONEY = /[$€£¥]/;

const bare = (cell) => cell.trim().replace(/^([+-]?)[$€£¥]\s*/, "$1").replace(/\s*[$€£¥]$/, "").replace(BLANKS, "").replace("−", "-");

/** {values: NaN where missing, bad: places that hold neither a number nor a sign for none}. */
export function readNumbers(cells, mark = ".") {
  const values = new Float64Array(cells.length), bad = [];
  const thousands = mark === "," ? "." : ",";
  let money;
  const groups = mark === "," ? /^[+-]?\d{1,3}(\.\d{3})+(,\d*)?$/ : /^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$/;
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (mark === "." && NUMBER.test(cell)) {
      values[i] = Number(cell);
      continue;
    }
    values[i] = NaN;
    if (MISSING.has(cell.trim())) continue;
    const sign = MONEY.exec(cell)?.[0];
    money ??= sign;
    // Two currencies in one column are no values of one unit.
    if ((sign && sign !== money) || (PARTED.test(cell) && !GROUPS.test(cell))) {
      bad.push(i);
      continue;
    }
    let text = bare(cell);
    if (text.includes(thousands)) text = groups.test(text) ? text.replaceAll(thousands, "") : "x";
    if (mark === ",") text = text.replace(",", ".");
    const value = NUMBER.test(text) ? Number(text) : NaN;
    if (Number.isFinite(value)) values[i] = value;
    else bad.push(i);
  }
  return { values, bad };
}

export const isMissing = (cell) => MISSING.has(cell.trim());

// Stamps.

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const monthNumber = (text) => MONTHS.indexOf(text.slice(0, 3).toLowerCase()) + 1;
const WORD = "([A-Za-z]{3,9})\\.?";
const TIME = "(?:[T ]+(\\d{1,2}):(\\d{2})(?::(\\d{2})(?:[.,](\\d{1,6}))?)?)?";
const ZONE = "\\s*(Z|[+-]\\d{2}:?\\d{2})?";

const civil = (year, month, day, time = []) => {
  const [hour = 0, minute = 0, second = 0, fraction = ""] = time.map((t) => t ?? undefined);
  const ms = fraction ? Math.floor(Number(`0.${fraction}`) * 1000) : 0;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second, ms);
  const held = date.getUTCMonth() === month - 1 && date.getUTCDate() === Number(day);
  return held && hour < 24 && minute < 60 && second < 60 ? date.getTime() : NaN;
};
const clock = (m, i) => m.slice(i, i + 4).map((t) => (t === undefined ? undefined : t));

// Each way of writing: its texts, its value, and how pandas calls it.
const readers = [
  { test: new RegExp(`^(\\d{4})-(\\d{1,2})-(\\d{1,2})${TIME}${ZONE}$`), read: (m) => civil(m[1], +m[2], m[3], clock(m, 4)), zone: 8, format: "ISO8601" },
  { test: new RegExp(`^(\\d{4})[/.](\\d{1,2})[/.](\\d{1,2})${TIME}$`), read: (m) => civil(m[1], +m[2], m[3], clock(m, 4)), format: (t) => `%Y${t[4]}%m${t[4]}%d` },
  { test: new RegExp(`^(\\d{1,2})([/.-])(\\d{1,2})[/.-](\\d{4})${TIME}$`), read: (m) => civil(m[4], +m[3], m[1], clock(m, 5)), order: "day", format: (t, m) => `%d${m[2]}%m${m[2]}%Y` },
  { test: new RegExp(`^(\\d{1,2})([/-])(\\d{1,2})[/-](\\d{4})${TIME}$`), read: (m) => civil(m[4], +m[1], m[3], clock(m, 5)), order: "month", format: (t, m) => `%m${m[2]}%d${m[2]}%Y` },
  { test: /^(\d{4})[-/.](\d{1,2})$/, read: (m) => civil(m[1], +m[2], 1), format: (t) => `%Y${t[4]}%m` },
  { test: /^(\d{4})M(\d{1,2})$/, read: (m) => civil(m[1], +m[2], 1), format: "%YM%m" },
  { test: /^(\d{4})[-\s/]?[Qq]([1-4])$/, read: (m) => civil(m[1], 3 * m[2] - 2, 1) },
  { test: /^[Qq]([1-4])[-\s/]?(\d{4})$/, read: (m) => civil(m[2], 3 * m[1] - 2, 1) },
  { test: new RegExp(`^${WORD}[\\s-](\\d{4})$`), read: (m) => civil(m[2], monthNumber(m[1]), 1) },
  { test: new RegExp(`^(\\d{4})[\\s-]${WORD}$`), read: (m) => civil(m[1], monthNumber(m[2]), 1) },
  { test: new RegExp(`^(\\d{1,2})[\\s-]${WORD}[\\s-](\\d{4})$`), read: (m) => civil(m[3], monthNumber(m[2]), m[1]) },
  { test: new RegExp(`^${WORD}\\s(\\d{1,2}),?\\s(\\d{4})$`), read: (m) => civil(m[3], monthNumber(m[1]), m[2]) },
];
const digits = [
  { test: /^((?:1[6-9]|2[0-2])\d{2})(\d{2})(\d{2})$/, read: (m) => civil(m[1], +m[2], m[3]), format: "%Y%m%d" },
  { test: /^((?:1[6-9]|2[0-2])\d{2})(\d{2})$/, read: (m) => civil(m[1], +m[2], 1), format: "%Y%m" },
  { test: /^((?:1[6-9]|2[0-2])\d{2})$/, read: (m) => civil(m[1], 1, 1), format: "%Y" },
];
const MOSTLY = 0.9;

/**
 * Stamps of a column: {values, whole, format, offset, bad}; null where it holds none.
 *
 * @param order "day" or "month" where the reader was told which comes first
 * @param counted whether the model counts steps: plain integers are then steps, not years
 * @param wall whether days and longer are read: their offsets change with the clock and say nothing
 */
export function readStamps(cells, { order = "", counted = false, wall = false } = {}) {
  const distinct = [...new Set(cells)].filter((cell) => !isMissing(cell)).map((t) => [t, t.trim()]);
  if (!distinct.length) return null;
  const texts = distinct.map(([, text]) => text);
  const enough = MOSTLY * texts.length;
  const fits = (reader) => texts.filter((t) => {
    const m = reader.test.exec(t);
    return m && !Number.isNaN(reader.read(m));
  }).length;
  if (texts.filter((t) => /^[+-]?\d{1,15}$/.test(t)).length >= enough) {
    const dated = counted ? null : digits.find((reader) => fits(reader) === texts.length);
    if (dated) return apply(cells, distinct, dated, wall);
    const bad = [];
    const values = Float64Array.from(cells, (cell, i) => {
      const text = cell.trim();
      if (/^[+-]?\d{1,15}$/.test(text)) return Number(text);
      bad.push(i);
      return NaN;
    });
    return { values, whole: true, format: "", offset: null, bad };
  }
  let able = readers.filter((reader) => fits(reader) >= enough);
  if (!able.length) return null;
  if (order) able = able.filter((reader) => !reader.order || reader.order === order);
  const most = Math.max(...able.map(fits));
  able = able.filter((reader) => fits(reader) === most);
  if (able.length > 1 && able[0].order) able = byStep(able, cells, distinct);
  return able.length ? apply(cells, distinct, able[0], wall) : null;
}

function apply(cells, distinct, reader, wall = false) {
  const known = new Map();
  let offset = null, format = "", timed = 0;
  for (const [cell, text] of distinct) {
    const m = reader.test.exec(text);
    if (!m) continue;
    known.set(cell, reader.read(m));
    if (!wall && reader.zone && m[reader.zone]) {
      const given = m[reader.zone] === "Z" ? 0 : minutes(m[reader.zone]);
      // All on the first one's clock: its offset is what the service is told.
      offset ??= given;
      known.set(cell, known.get(cell) + (offset - given) * 6e4);
    }
    const time = /[T ]+\d{1,2}:\d{2}(:\d{2})?/.exec(text);
    timed = Math.max(timed, time ? (time[1] ? 3 : 2) : 0);
    format ||= typeof reader.format === "function" ? reader.format(text, m) : reader.format ?? "";
  }
  if (format && format !== "ISO8601" && timed) format += timed === 3 ? " %H:%M:%S" : " %H:%M";
  const bad = [];
  const values = Float64Array.from(cells, (cell, i) => {
    const value = known.get(cell) ?? NaN;
    if (Number.isNaN(value)) bad.push(i);
    return value;
  });
  return { values, whole: false, format, offset, bad };
}

function minutes(text) {
  const [, sign, hours, rest] = /([+-])(\d{2}):?(\d{2})/.exec(text);
  return (sign === "-" ? -1 : 1) * (60 * hours + Number(rest));
}

/** Of two orders of day and month the one whose stamps keep one step; a `TableError` if both do. */
function byStep(able, cells, distinct) {
  const regular = able.filter((reader) => {
    const stamps = [...new Set(apply(cells, distinct, reader).values)].filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
    const freq = inferFreq(stamps);
    const span = freq && freq.unit === "month" ? freq.size * 30.44 * 864e5 : (freq?.size ?? 1);
    return freq && (stamps.at(-1) - stamps[0]) / span <= 1.5 * stamps.length;
  });
  if (regular.length === 1) return regular;
  throw new TableError(
    `Stamps such as ${distinct[0][1]} can be read with the day or with the month first.`,
    "Choose the order of day and month under Columns.",
    "order",
  );
}

// What each column is.

// Names that ingestion takes for stamps, values and ids, too.
const DS = /^(ds|date|datetime|timestamp|time|date_time|ts|day|month|week|year|quarter|period|datum|zeit|zeitstempel|fecha|data|hour|step|date_hour)$/i;
const Y_WORDS = "y|values?|target|sales|demand|count|quantity|qty|volume|units|amount|load|wert|menge|last|valor|valeur|measurement|observation";
const Y = new RegExp(`^(${Y_WORDS})$`, "i");
const Y_PART = new RegExp(`(^|[_ ])(${Y_WORDS})($|[_ ])`, "i");
const ID = /(^|_| )(unique_id|id|series|item|sku|store|shop|sensor|product|station|location|region|name|key|code|site|meter|channel|customer|category|brand|state|country|city)s?($|_| )/i;
const ROWS = 2000; // looked at to tell what a column holds

/** {kind: "stamps" | "numbers" | "texts" | "nothing"} of each column, from its first rows. */
export function kindsOf(table, counted) {
  return table.columns.map((cells, c) => {
    const seen = cells.slice(0, ROWS).filter((cell) => !isMissing(cell));
    if (!seen.length) return "nothing";
    let stamps = null;
    try {
      stamps = readStamps(seen, { counted });
    } catch (error) {
      // Two readings of the same stamps: they are stamps.
      if (error instanceof TableError) return "stamps";
      throw error;
    }
    const named = DS.test(table.names[c]);
    if (stamps && (named || !/^\d+$/.test(seen[0].trim()))) return "stamps";
    for (const mark of [".", ","]) {
      if (readNumbers(seen, mark).bad.length <= seen.length / 2) return "numbers";
    }
    return "texts";
  });
}

/**
 * Roles: {layout, ids, ds, y, covariates: {name: column}, notes}; columns by number.
 *
 * @param schema the covariates of the model, as the service describes them
 */
export function recognise(table, schema, counted) {
  const kinds = kindsOf(table, counted), names = table.names, notes = [];
  const lower = names.map((name) => name.toLowerCase());
  const one = (name) => (lower.filter((n) => n === name).length === 1 ? lower.indexOf(name) : -1);
  const all = names.map((_, c) => c);
  let ds = one("ds");
  if (ds < 0) {
    const stamps = all.filter((c) => kinds[c] === "stamps");
    const counting = all.filter((c) => kinds[c] === "numbers" && DS.test(names[c]));
    const able = [...stamps.filter((c) => DS.test(names[c])), ...stamps, ...counting];
    ds = able[0] ?? -1;
    if (new Set(able).size > 1) notes.push(`more than one column holds stamps: ${names[ds]} was taken`);
  }
  const covariates = {};
  for (const { name } of schema) {
    const c = names.indexOf(name) >= 0 ? names.indexOf(name) : one(name.toLowerCase());
    if (c >= 0 && c !== ds) covariates[name] = c;
  }
  const taken = new Set([ds, ...Object.values(covariates)]);
  let y = one("y");
  const numbers = all.filter((c) => kinds[c] === "numbers" && !taken.has(c));
  const named = numbers.filter((c) => Y.test(names[c]));
  const partly = numbers.filter((c) => Y_PART.test(names[c]));
  const texts = all.filter((c) => kinds[c] === "texts" && !taken.has(c));
  const whole = numbers.filter((c) => ID.test(names[c]) && !named.includes(c) && !partly.includes(c));
  const canonical = one("unique_id");
  const ids = canonical >= 0 ? [canonical] : ds < 0 ? [] : idsOf(table, ds, texts, whole);
  const values = numbers.filter((c) => !ids.includes(c));
  if (y < 0) {
    const wide = !ids.length && !named.length && !partly.length && values.length > 1;
    if (wide && unique(table, [ds])) return { layout: "wide", ids, ds, y: -1, values, covariates, notes };
    y = named[0] ?? partly[0] ?? values.find((c) => changes(table.columns[c])) ?? values[0] ?? -1;
    const others = values.filter((c) => c !== y).map((c) => names[c]);
    if (others.length && !named.length) notes.push(`${names[y]} was taken as the value; it may be ${others.join(", ")}`);
  }
  return { layout: "long", ids, ds, y, values: [], covariates, notes };
}

/** The fewest columns of names with which no series has two rows for one stamp. */
function idsOf(table, ds, texts, whole) {
  const able = [...texts.filter((c) => ID.test(table.names[c])), ...texts.filter((c) => !ID.test(table.names[c])), ...whole];
  const several = able.filter((c) => new Set(table.columns[c]).size > 1);
  if (unique(table, [ds])) return able.filter((c) => texts.includes(c) && new Set(table.columns[c]).size === 1).slice(0, 1);
  for (const c of several) if (unique(table, [ds, c])) return [c];
  for (const a of several) for (const b of several) if (a < b && unique(table, [ds, a, b])) return [a, b];
  return several.filter((c) => texts.includes(c)).slice(0, 2);
}

function unique(table, columns) {
  const seen = new Set(), count = table.lines.length;
  for (let r = 0; r < count; r++) {
    const key = columns.map((c) => table.columns[c][r]).join("\u0000");
    if (seen.has(key)) return false;
    seen.add(key);
  }
  return true;
}

const changes = (cells) => cells.some((cell) => cell !== cells[0]);

/** What a table lacks before it can be forecast; a `TableError` says what to choose. */
export function checkRoles(table, roles) {
  const column = (what) => new TableError(`No column was recognised as ${what}.`, "Choose it under Columns.", "columns");
  if (roles.ds < 0) throw column("the time stamp");
  if (roles.layout === "long" && roles.y < 0) throw column("the value");
  if (roles.layout === "wide" && !roles.values.length) throw column("a series");
}

/** The decimal mark of the columns that are read as numbers, found out or chosen. */
export function markOf(table, roles, schema, chosen) {
  if (chosen) return { mark: chosen, note: "" };
  const real = schema.filter((c) => c.type === "real" && roles.covariates[c.name] !== undefined);
  const columns = [...(roles.layout === "wide" ? roles.values : [roles.y]), ...real.map((c) => roles.covariates[c.name])];
  return decimalMark(columns.map((c) => table.columns[c]), columns.map((c) => table.names[c]), table.separator);
}
