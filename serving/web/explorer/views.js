// Parts of the page that show a state and hold none.

import { iso, label, shift } from "./calendar.js";
import { short } from "./chart.js";
import { count } from "./series.js";

export const $ = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`) and children; what is null is left out. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "checked" || key === "selected" || key === "disabled" || key === "value") made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const fill = (place, ...children) => place.replaceChildren(...children.flat().filter(Boolean));

/** A line of the legend, drawn as in the charts. */
export function swatch({ colour, dash = [], width, dots }) {
  const stroke = `var(${colour})`;
  return shape("svg", { width: 26, height: 10, "aria-hidden": "true", class: "swatch" },
    shape("path", { d: "M1 5h24", stroke, "stroke-width": width, "stroke-dasharray": dash.join(" ") }),
    dots ? shape("circle", { cx: 13, cy: 5, r: 2.5, fill: stroke }) : "");
}

function shape(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Hands a file to the reader. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The columns of a table, each with the role it has; `change` is given the new roles. */
export function columnsView(table, source, schema, change) {
  const { roles } = source, names = table.names;
  const wide = roles.layout === "wide";
  const roleOf = (c) => {
    if (roles.ids.includes(c)) return "id";
    if (roles.ds === c) return "ds";
    if (wide ? roles.values.includes(c) : roles.y === c) return "y";
    const covariate = Object.keys(roles.covariates).find((name) => roles.covariates[name] === c);
    return covariate === undefined ? "" : `cov:${covariate}`;
  };
  const options = [
    ["", "not used"], ["id", "series"], ["ds", "stamp"], ["y", "value"],
    ...schema.map((c) => [`cov:${c.name}`, `${c.role}: ${c.name}`]),
  ];
  const set = (c, role) => {
    const next = { ...roles, ids: roles.ids.filter((i) => i !== c), values: roles.values.filter((i) => i !== c), covariates: {}, notes: [] };
    for (const [name, i] of Object.entries(roles.covariates)) if (i !== c && `cov:${name}` !== role) next.covariates[name] = i;
    if (next.ds === c) next.ds = -1;
    if (next.y === c) next.y = -1;
    if (role === "id") next.ids = [...next.ids, c].sort((a, b) => a - b);
    else if (role === "ds") next.ds = c;
    else if (role === "y" && wide) next.values = [...next.values, c].sort((a, b) => a - b);
    else if (role === "y") next.y = c;
    else if (role) next.covariates[role.slice(4)] = c;
    change({ roles: next });
  };
  const shape = (layout) => {
    if (layout === roles.layout) return;
    const used = new Set([roles.ds, ...roles.ids, ...Object.values(roles.covariates)]);
    const rest = names.map((_, c) => c).filter((c) => !used.has(c));
    change({ roles: layout === "wide"
      ? { ...roles, layout, values: rest, y: -1, notes: [] }
      : { ...roles, layout, y: roles.values[0] ?? -1, values: [], notes: [] } });
  };
  const rows = names.map((name, c) => {
    const sample = table.columns[c].find((cell) => cell.trim()) ?? "";
    return el("tr", {},
      el("th", { scope: "row" }, name, el("span", { class: "quiet sample" }, sample.slice(0, 14))),
      el("td", {}, choice(`role-${c}`, `Role of ${name}`, options, roleOf(c), (value) => set(c, value))));
  });
  return [
    labelled("Layout", choice("layout", "Layout", [["long", "a row per value"], ["wide", "a column per series"]], roles.layout, shape)),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Roles of columns" }, el("table", { class: "roles" }, el("tbody", {}, rows))),
    labelled("Day and month", choice("order", "Order of day and month", [["", "found out"], ["day", "day first"], ["month", "month first"]], source.order, (order) => change({ order }))),
    labelled("Decimal mark", choice("decimal", "Decimal mark", [["", "found out"], [".", "point"], [",", "comma"]], source.mark, (mark) => change({ mark }))),
  ];
}

const labelled = (text, control) => el("p", { class: "field inline" }, el("span", { "aria-hidden": "true" }, text), control);

function choice(id, name, options, value, change) {
  return el("select", { id, "aria-label": name, onchange: (event) => change(event.target.value) },
    options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
}

/** The forecasts as rows of text for a file: one for each series, stamp and model. */
export function rowsOf(data, shown) {
  const levels = [...new Set(shown.flatMap((one) => one.lines.flatMap((line) => Object.keys(line.quantiles ?? {}))))].sort((a, b) => a - b);
  if (!levels.includes("0.5")) levels.push("0.5");
  const header = ["unique_id", "ds", "model", "version", "mean", ...levels.map((level) => `q${level}`), "actual"];
  const rows = shown.flatMap((one) => one.actual.flatMap((actual, j) => {
    const stamp = shift(data.freq, one.series.start, one.seen + j);
    const ds = data.freq.unit === "step" ? stamp : iso(stamp, data.offset);
    return one.lines.map((line) => [one.id, ds, line.name, line.version, line.mean?.[j],
      ...levels.map((level) => (line.quantiles ?? { 0.5: line.values })[level]?.[j]), actual]);
  }));
  return [header, ...rows];
}

const MOST_ROWS = 1000;

/** The numbers of the charts; an interval is two columns below one head. */
export function tableView(data, shown, history) {
  const lines = [...new Map(shown.flatMap((one) => one.lines.map((line) => [line.key, line]))).values()];
  const columns = lines.flatMap((line) => [
    ["median", (own) => own.values],
    ...(line.mean ? [["mean", (own) => own.mean]] : []),
    ...line.bands.flatMap(({ percent }, k) => [[`${percent} % from`, (own) => own.bands[k].low], ["to", (own) => own.bands[k].high]]),
  ].map(([name, of]) => ({ key: line.key, name: line.mean ? name : "", of })));
  const stampOf = (one, step) => label(data.freq, shift(data.freq, one.series.start, step));
  const rows = [];
  for (const one of shown) {
    for (let i = history ? Math.max(0, one.seen - 500) : one.seen; i < one.seen; i++) {
      rows.push([one.id, stampOf(one, i), one.series.y[i]]);
    }
    const own = new Map(one.lines.map((line) => [line.key, line]));
    one.actual.forEach((actual, j) => rows.push([one.id, stampOf(one, one.seen + j), actual,
      ...columns.map(({ key, of }) => own.has(key) && of(own.get(key))[j])]));
  }
  const several = shown.length > 1;
  const number = (value) => el("td", { class: "number" }, typeof value === "number" ? short(value) : "");
  const head = (text, attributes = {}) => el("th", { scope: "col", ...attributes }, text);
  const body = rows.slice(0, MOST_ROWS).map(([id, stamp, ...values]) => el("tr", {}, several && el("td", { class: "name" }, id), el("th", { scope: "row" }, stamp), values.map(number)));
  return [
    el("div", { class: "scroll wide", tabindex: "0", role: "group", "aria-label": "Forecast as a table" },
      el("table", { class: "numbers" },
        el("caption", { class: "hidden" }, "The numbers of the charts; there is no value yet where nothing has happened"),
        el("thead", {},
          el("tr", {}, ["series", "stamp", "value"].slice(several ? 0 : 1).map((text) => head(text, { rowspan: 2, class: text === "value" && "number" })),
            lines.map((line) => head(line.name, { colspan: columns.filter((c) => c.key === line.key).length, scope: "colgroup", class: "group" }))),
          el("tr", {}, columns.map(({ name }) => (name ? head(name, { class: "number" }) : el("td", {}))))),
        el("tbody", {}, body))),
    rows.length > MOST_ROWS && el("p", { class: "quiet" }, `The first ${MOST_ROWS} of ${rows.length.toLocaleString("en")} rows; the CSV has every step of the forecast.`),
  ];
}

const CURES = {
  no_answer: "Is it running? What you typed is kept.",
  wrong_key: "Type it again.",
  missing_future_covariate: "Add rows after the last value that hold it, or move “As of” back to where the table knows it.",
  missing_past_covariate: "Choose its column under Columns.",
  no_observations: "Move “As of” on, or choose a series with values near its end.",
  start_off_grid: "Choose a model of the table's step.",
  body_too_large: "Select fewer series.",
};

/** A refusal: title, each place with what is wrong there, and what to do. */
export function refusalView(title, faults, cure, actions = []) {
  return el("div", { class: "refusal" },
    el("h2", {}, title),
    faults.length === 1 && !faults[0].place ? el("p", {}, faults[0].detail) :
      el("ul", {}, faults.map(({ place, detail }) => el("li", {}, place ? el("strong", {}, `${place}: `) : null, detail))),
    cure ? el("p", { class: "cure" }, cure) : null,
    actions.length ? el("p", { class: "row" }, actions) : null);
}

export const cureOf = (code) => CURES[code] ?? "";

/** What the service notes of a series that it answers. */
export function noteOf({ code, where: { column, value, rows, when } = {} }) {
  const unknown = "and answers with what it learnt for “unknown”";
  if (code === "unseen_category") return `never saw ${value} as ${column}, ${unknown}`;
  if (code === "missing_static") return `was not told ${column}, ${unknown}`;
  if (code === "outside_training") return `learnt nothing of ${column} as far out as ${short(value)}`;
  if (code === "code_for_missing") return `read ${value} (${count(rows, "row")}) as a value: leave it empty where it stands for a missing one`;
  if (code === "below_zero") return `reads ${short(value)}, and saw nothing below 0 in training`;
  if (code === "open_end") return `forecasts from after the ${count(rows, "row")} without a value at the end`;
  if (code === "closed") return `forecasts every ${when} too, where this series never has a value`;
  if (code === "equal_values") return `was shown ${short(value)} alone (${count(rows, "row")}), which does not say how far it moves: its interval is a guess`;
  return `notes ${code}${column ? ` of ${column}` : ""}`;
}

/** A place of the request in the words of the page: the series, its stamp, its line in the file. */
export function placeOf(pointer, data, ids, plain) {
  const parts = (pointer ?? "").split("/").slice(1);
  if (parts[0] === "horizon") return "Steps ahead";
  if (parts[0] === "quantiles") return "Intervals";
  if (parts[0] === "model") return "Model";
  if (parts[0] !== "series" || ids[parts[1]] === undefined) return plain ?? "";
  const id = ids[parts[1]], series = data.series.get(id);
  const words = [`series ${id}`];
  const step = Number(parts.at(-1));
  const column = parts.length > 3 && parts[2] !== "y" ? parts[3] : parts[2];
  if (column) words.push(column);
  if (parts.length > 3 && Number.isInteger(step)) {
    words.push(label(data.freq, shift(data.freq, series.start, step)));
    if (series.lines[step]) words.push(`line ${series.lines[step]} of the file`);
  }
  return words.join(", ");
}
