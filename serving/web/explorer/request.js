// What is asked of the service, and the same as commands that can be run elsewhere.

import { iso, shift } from "./calendar.js";

/** Levels of the median and of intervals in per cent, rising: 80 is 0.1 to 0.9. */
export function levelsOf(intervals) {
  const levels = new Set([0.5]);
  for (const percent of intervals) {
    // Hundredths of a per cent, so that 95 gives 0.025 and not its neighbour.
    const edge = Math.round((100 - percent) * 50) / 1e4;
    levels.add(edge).add(Math.round((1 - edge) * 1e4) / 1e4);
  }
  return [...levels].sort((a, b) => a - b);
}

/** Steps of a series that a forecast as of `cut` may see; all where there is no cut. */
export function seenSteps(data, series, cut) {
  if (cut === null) return series.y.length;
  let low = 0, high = series.y.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (shift(data.freq, series.start, middle) <= cut) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * A body of `POST /v1/forecast`.
 *
 * @param asked {model, about, ids, cut, horizon, intervals, extend}
 */
export function bodyOf(data, { about, ids, cut, horizon, intervals, extend }) {
  const roles = (role) => about.covariates.filter((c) => c.role === role).map((c) => c.name);
  const [past, future, fixed] = ["past", "future", "static"].map(roles);
  const steps = Number.isInteger(horizon) && horizon > 0 ? horizon : about.horizon;
  const body = {
    model: about.name,
    horizon,
    quantiles: levelsOf(intervals),
    series: ids.map((id) => {
      const series = data.series.get(id), size = seenSteps(data, series, cut), given = series.covariates;
      const pick = (names, of) => Object.fromEntries(names.filter((n) => given[n] !== undefined && given[n] !== null).map((n) => [n, of(given[n])]));
      const one = { id, start: startOf(data, series), y: series.y.slice(0, size) };
      const blocks = {
        past: pick(past, (values) => values.slice(0, size)),
        future: pick(future, (values) => Array.from({ length: size + steps }, (_, i) => values[i] ?? null)),
        static: pick(fixed, (value) => value),
      };
      for (const [role, block] of Object.entries(blocks)) if (Object.keys(block).length) one[role] = block;
      return one;
    }),
  };
  if (extend) body.extend = true;
  return body;
}

function startOf(data, series) {
  if (data.numbered) return 1;
  return data.freq.unit === "step" ? series.start : iso(series.start, data.offset);
}

// The same as commands.

const KEY = "GATECAST_API_KEY";

/** For a shell: the body goes in as it is, whatever it holds. */
export function asCurl(address, body, keyed) {
  const key = keyed ? ` \\\n  -H "Authorization: Bearer $${KEY}"` : "";
  return `curl -sS '${address}/v1/forecast' \\\n  -H 'Content-Type: application/json'${key} \\\n  --data-binary @- <<'GATECAST'\n${pretty(body)}\nGATECAST\n`;
}

/** Python without a package but its own. */
export function asPython(address, body, keyed) {
  return [
    "import json",
    ...(keyed ? ["import os"] : []),
    "from urllib.request import Request, urlopen",
    "",
    `body = ${pretty(body, python)}`,
    "request = Request(",
    `    ${python(`${address}/v1/forecast`)},`,
    "    data=json.dumps(body).encode(),",
    '    headers={"Content-Type": "application/json"},',
    ")",
    ...(keyed ? [`request.add_header("Authorization", "Bearer " + os.environ["${KEY}"])`] : []),
    "with urlopen(request) as response:",
    "    answer = json.load(response)",
    'for forecast in answer["forecasts"]:',
    '    print(forecast["id"], forecast["ds"], forecast["quantiles"]["0.5"])',
    'for error in answer["errors"]:',
    '    print(error["id"], error["detail"])',
    "",
  ].join("\n");
}

/** Gatecast's client, from the file where pandas reads it as this page did, else from the values. */
export function asClient(address, data, asked, source, keyed) {
  const { about, intervals, horizon, extend } = asked;
  const lines = source.table && data.read && !data.numbered && !data.read.moved && (data.read.format || data.read.whole) && data.offset === null
    ? fromFile(data, asked, source) : fromValues(data, asked);
  const of = (role) => about.covariates.filter((c) => c.role === role && lines.columns.has(c.name)).map((c) => c.name);
  const future = of("future"), fixed = of("static");
  return [
    ...(keyed ? ["import os", ""] : []),
    "import pandas as pd",
    "",
    "from serving.client import Client",
    "",
    lines.text.trimEnd(),
    ...(fixed.length ? [`static = df.groupby("unique_id")[${python(fixed)}].first().reset_index()`] : []),
    "",
    `with Client(${python(address)}${keyed ? `, api_key=os.environ["${KEY}"]` : ""}) as client:`,
    "    found = client.forecasts(",
    `        df[${python(["unique_id", "ds", "y", ...of("past"), ...future])}],`,
    ...(future.length && lines.future ? ["        future=future,"] : []),
    ...(fixed.length ? ["        static=static,"] : []),
    `        model=${python(about.name)},`,
    `        horizon=${python(horizon)},`,
    `        quantiles=${python(levelsOf(intervals))},`,
    ...(extend ? ["        extend=True,"] : []),
    "    )",
    "print(found.frame.to_string())",
    "for error in found.errors:",
    '    print(error["id"], error["detail"])',
    "",
  ].join("\n");
}

function fromFile(data, { about, ids, cut }, { table, roles, file, name }) {
  const { read } = data, names = table.names;
  const options = [python(file)];
  if (table.separator !== ",") options.push(`sep=${python(table.separator)}`);
  if (read.mark === ",") options.push('decimal=","', 'thousands="."');
  const text = [...roles.ids, ...(read.whole ? [] : [roles.ds])].map((c) => names[c]);
  const words = about.covariates.filter((c) => c.type !== "real" && roles.covariates[c.name] !== undefined);
  const typed = [...text, ...words.map((c) => names[roles.covariates[c.name]])];
  if (typed.length) options.push(`dtype={${[...new Set(typed)].map((n) => `${python(n)}: str`).join(", ")}}`);
  const renamed = Object.entries(roles.covariates).map(([covariate, c]) => [names[c], covariate]).filter(([a, b]) => a !== b);
  renamed.push([names[roles.ds], "ds"]);
  let out = `table = pd.read_csv(${options.join(", ")})\n`;
  const id = roles.ids.map((c) => `table[${python(names[c])}].str.strip()`).join(' + "/" + ');
  if (roles.layout === "wide") {
    const kept = [...roles.ids, roles.ds, ...Object.values(roles.covariates)].map((c) => names[c]);
    out += `table = table.melt(${python(kept)}, ${python(roles.values.map((c) => names[c]))}, "of", "y")\n`;
    out += `table["unique_id"] = ${id ? `${id} + "/" + ` : ""}table["of"]\n`;
  } else {
    renamed.push([names[roles.y], "y"]);
    out += `table["unique_id"] = ${id || python(name)}\n`;
  }
  const changed = renamed.filter(([a, b]) => a !== b);
  if (changed.length) out += `table = table.rename(columns={${changed.map(([a, b]) => `${python(a)}: ${python(b)}`).join(", ")}})\n`;
  if (!read.whole) out += `table["ds"] = pd.to_datetime(table["ds"].str.strip(), format=${python(read.format)})\n`;
  out += `table = table[table["unique_id"].isin(${python(ids)})].sort_values(["unique_id", "ds"])\n`;
  const columns = new Set(Object.keys(roles.covariates));
  const future = about.covariates.filter((c) => c.role === "future" && columns.has(c.name)).map((c) => c.name);
  // History ends with the last value: rows after it are what is known ahead.
  const until = cut === null ? "" : `table["ds"].le(${read.whole ? python(cut) : python(iso(cut))})`;
  const observed = `table["y"].notna()[::-1].groupby(table["unique_id"]).cummax()[::-1]`;
  out += `seen = ${until ? `${until} & ` : ""}${observed}\ndf = table[seen]\n`;
  if (future.length) out += `future = table[~seen][${python(["unique_id", "ds", ...future])}]\n`;
  return { text: out, columns, future: true };
}

function fromValues(data, { about, ids, cut }) {
  const columns = new Set();
  const plain = (data.numbered || data.freq.unit === "step");
  let out = "parts = []\n", ahead = "ahead = []\n", any = false;
  for (const id of ids) {
    const series = data.series.get(id), size = seenSteps(data, series, cut);
    const stamps = (first, length) => {
      if (data.numbered) return `range(${1 + first}, ${1 + first + length})`;
      const begin = shift(data.freq, series.start, first);
      if (plain) return `range(${begin}, ${begin + length * data.freq.size}, ${data.freq.size})`;
      if (data.freq.unit === "month") return `pd.to_datetime(${python(Array.from({ length }, (_, i) => iso(shift(data.freq, begin, i))))})`;
      return `pd.date_range(${python(iso(begin, data.offset))}, periods=${length}, freq=${python(about.freq)})`;
    };
    const cells = [`"unique_id": ${python(id)}`, `"ds": ${stamps(0, size)}`, `"y": ${python(series.y.slice(0, size))}`];
    const later = [`"unique_id": ${python(id)}`, ""];
    const steps = Math.min(series.y.length + series.ahead - size, asksFor(about));
    for (const { name, role } of about.covariates) {
      const value = series.covariates[name];
      if (value === undefined || value === null) continue;
      columns.add(name);
      cells.push(`${python(name)}: ${python(role === "static" ? value : value.slice(0, size))}`);
      if (role === "future") later.push(`${python(name)}: ${python(value.slice(size, size + steps))}`);
    }
    out += `parts.append(pd.DataFrame({\n    ${cells.join(",\n    ")},\n}))\n`;
    if (later.length > 2 && steps > 0) {
      any = true;
      later[1] = `"ds": ${stamps(size, steps)}`;
      ahead += `ahead.append(pd.DataFrame({\n    ${later.join(",\n    ")},\n}))\n`;
    }
  }
  out += "df = pd.concat(parts)\n";
  if (any) out += `${ahead}future = pd.concat(ahead)\n`;
  return { text: out, columns, future: any };
}

const asksFor = (about) => about.horizon;

/** A JSON value as Python writes it. */
export function python(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  return JSON.stringify(value);
}

/** Indented, with lists of plain values on one line. */
function pretty(value, write = JSON.stringify, indent = "") {
  const inner = `${indent}  `;
  if (value === null || typeof value !== "object") return write(value);
  if (Array.isArray(value)) {
    if (value.every((v) => v === null || typeof v !== "object")) return `[${value.map((v) => write(v)).join(", ")}]`;
    return `[\n${value.map((v) => inner + pretty(v, write, inner)).join(",\n")}\n${indent}]`;
  }
  const lines = Object.entries(value).map(([key, v]) => `${inner}${JSON.stringify(key)}: ${pretty(v, write, inner)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

/** Rows as text; cells are quoted where they must be. */
export function asCsv(rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

// The key lives in this variable and nowhere else.
let key = null;

export const useKey = (given) => { key = given || null; };
export const hasKey = () => key !== null;

/** What the service, or the way to it, said instead of an answer. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail ?? "no reason given");
    this.status = status;
    this.problem = problem;
  }
}

// Relative to the page, so that it works below a proxy's prefix, too.
export const address = () => new URL(".", document.baseURI).href.replace(/\/$/, "");

export async function ask(path, body, signal) {
  const headers = { accept: "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`${address()}/${path}`, {
      method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal, cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { title: "No answer", detail: `${address()} does not answer`, code: "no_answer" });
  }
  const text = await answer.text();
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    content = { title: `Status ${answer.status}`, detail: text.slice(0, 300) || "an answer that is not JSON" };
    if (answer.ok) throw new ApiError(answer.status, content);
  }
  if (!answer.ok) {
    const wait = answer.headers.get("retry-after");
    throw new ApiError(answer.status, wait ? { ...content, wait } : content);
  }
  return content;
}
