// The page: what was chosen, what is asked for it, and what is shown.

import { label, parseFreq, sameStep, shift, spoken } from "./calendar.js";
import { at, Chart, drawingOf, errorsOf, forecastsOf, HAPPENED, HISTORY, picture, short } from "./chart.js";
import { address, ApiError, asClient, asCsv, asCurl, ask, asPython, bodyOf, hasKey, useKey } from "./request.js";
import { count, seriesOf, seriesOfBody } from "./series.js";
import { decode, parseTable, recognise, TableError } from "./table.js";
import { $, columnsView, cureOf, download, el, fill, noteOf, placeOf, refusalView, rowsOf, swatch, tableView } from "./views.js";

const INTERVALS = [50, 80, 90, 95, 99];
const MOST_SHOWN = 12; // charts at a time
const MOST_LISTED = 200; // series of the list
const MOST_BYTES = 200e6; // of a file
const MOST_KEPT = 64; // answers
const LONG_CODE = 20_000; // characters that are shown of code

const state = {
  models: [], about: null, abouts: new Map(), source: { kind: "example" }, data: null,
  ids: [], back: 0, horizon: "", intervals: new Set([80, 95]), extend: false,
  chosen: false, schema: [], compared: new Set(["seasonal"]), comparable: new Map(), season: 1, everything: false, history: false, code: "curl",
  answers: [], shown: [], asked: null, milliseconds: 0,
};
const phone = matchMedia("(max-width: 760px)");
const charts = new Map();
const kept = new Map();
let running = null, waiting = 0, builds = 0;

// Models.

async function start() {
  try {
    const { models } = await ask("v1/models");
    state.models = models;
    $("key-box").hidden = true;
    const ready = models.find((m) => m.default && m.ready) ?? models.find((m) => m.ready);
    fill($("model"), models.map((m) => el("option", { value: m.name, disabled: !m.ready }, m.ready ? m.name : `${m.name} (not ready)`)));
    if (!ready) throw new ApiError(503, { title: "No model is ready", code: "not_ready", detail: models.map((m) => `${m.name}: ${m.problem ?? "loading"}`).join("; ") });
    await chooseModel(state.about?.name ?? ready.name);
  } catch (error) {
    refuse(error);
  }
}

async function about(name) {
  if (!state.abouts.has(name)) state.abouts.set(name, await ask(`v1/models/${encodeURIComponent(name)}`));
  return state.abouts.get(name);
}

async function chooseModel(name) {
  const before = state.about;
  state.about = await about(name);
  const { about: model } = state;
  $("model").value = name;
  // What was typed stays; what was only proposed follows the model.
  if (!before || state.horizon === String(before.horizon)) state.horizon = String(model.horizon);
  $("horizon").value = state.horizon;
  describeModel();
  $("extend").disabled = model.covariates.some((c) => c.role === "future");
  state.season = Math.max(model.season ?? 1, 1);
  await rebuild();
}

function describeModel() {
  const { version, alias, freq, horizon, kind } = state.about, step = parseFreq(freq);
  if (kind === "pretrained") return void fill($("model-about"), `The pretrained network: any step, up to ${count(horizon, "step")} ahead.`);
  fill($("model-about"), `Version ${version}, ${alias}. Reads ${step ? `one value per ${spoken(step)}` : freq}; trained for ${count(horizon, "step")}.`);
}

// Data.

async function openFile(file) {
  try {
    if (file.size > MOST_BYTES) throw new TableError(`${file.name} has ${Math.round(file.size / 1e6)} MB.`, "Drop a part of it, or run `gatecast forecast` on the whole.");
    let bytes = new Uint8Array(await file.arrayBuffer());
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    }
    const [text, notes] = decode(bytes, file.name);
    const table = parseTable(text, file.name);
    table.notes.unshift(...notes);
    const name = file.name.replace(/\.gz$/, "").replace(/\.[^.]*$/, "") || "series";
    state.source = { kind: "file", file: file.name, name, table, order: "", mark: "", roles: null };
  } catch (error) {
    state.source = { kind: "none", file: file.name };
    state.data = null;
    showSource();
    refuse(error);
    return;
  }
  state.ids = [];
  state.back = 0;
  // Before a model is there, because a key is asked for, the table waits.
  if (!state.about) return;
  try {
    if (state.models.length > 1) await fitModel(state.source.table);
    await rebuild();
    $("notes-box").open = true;
  } catch (error) {
    refuse(error);
  }
}

/** The served model that reads the table's step and most of its columns, unless one was chosen. */
async function fitModel(table) {
  const reads = (model) => {
    try {
      const counted = parseFreq(model.freq).unit === "step";
      const roles = recognise(table, model.covariates, counted);
      const { read } = seriesOf(table, roles, options(model));
      if (model.covariates.some((c) => c.required && roles.covariates[c.name] === undefined)) return -1;
      return sameStep(read.found, parseFreq(model.freq)) ? Object.keys(roles.covariates).length : -1;
    } catch (error) {
      if (error instanceof TableError) return -1;
      throw error;
    }
  };
  let best = state.about, most = reads(best);
  if (state.chosen && most >= 0) return;
  for (const { name } of state.models.filter((m) => m.ready).slice(0, 20)) {
    const model = await about(name), score = reads(model);
    if (score > most) [best, most] = [model, score];
  }
  if (best === state.about) return;
  table.notes.push(`${best.name} was chosen: it reads this step and these columns`);
  await chooseModel(best.name);
}

const options = (model) => ({
  freq: parseFreq(model.freq), schema: model.covariates,
  order: state.source.order ?? "", mark: state.source.mark ?? "", name: state.source.name ?? "",
});

/** Other models that are ready and read the same step. */
const others = (model) => Promise.all(state.models.filter((m) => m.ready && m.name !== model.name && sameStep(parseFreq(m.freq) ?? {}, parseFreq(model.freq) ?? {})).map((m) => about(m.name)));

/** The model's covariates, and those of the models that it may be compared with. */
async function schemaOf(model) {
  const all = new Map([model, ...(await others(model))].reverse().flatMap((m) => m.covariates.map((c) => [c.name, c])));
  return [...all.values()];
}

/** Series from the source, for the model that is chosen. */
async function rebuild() {
  const { source, about: model } = state, mine = ++builds;
  if (!model || source.kind === "none") return;
  if (source.kind === "file") state.schema = await schemaOf(model);
  if (mine !== builds) return;
  kept.clear();
  try {
    const freq = parseFreq(model.freq);
    if (model.kind === "pretrained") throw new TableError("This page draws models that were trained.", "Ask the pretrained network through the interface (/docs), with freq and horizon.");
    if (!freq) throw new TableError(`This page does not know the step ${model.freq}.`, "Ask through the interface instead.");
    if (source.kind === "example") state.data = seriesOfBody(model.example, freq);
    else {
      settleRoles(source, recognise(source.table, state.schema, freq.unit === "step"), model.name);
      state.data = seriesOf(source.table, source.roles, { ...options(model), schema: state.schema });
    }
    state.ids = state.ids.filter((id) => state.data.series.has(id));
    if (!state.ids.length) state.ids = [state.data.series.keys().next().value];
  } catch (error) {
    if (!(error instanceof TableError)) throw error;
    state.data = null;
    showSource();
    refuse(error);
    return;
  }
  showSource();
  listSeries();
  await drawCompared();
  if (mine === builds) soon(0);
}

/** Roles that the reader has chosen stay; another model's covariates are looked for in the rest. */
function settleRoles(source, found, model) {
  if (source.chosen && source.of !== model) {
    const { ids, ds, y, values, covariates } = source.roles, used = [...ids, ds, y, ...values];
    const more = Object.entries(found.covariates).filter(([, c]) => !used.includes(c));
    source.roles.covariates = { ...Object.fromEntries(more), ...covariates };
  } else if (!source.chosen) source.roles = found;
  source.of = model;
}

function showSource() {
  const { source, data } = state;
  const isFile = source.kind === "file";
  const text = source.kind === "none" ? `${source.file} could not be read.`
    : !isFile ? "The example that the model was given to show."
    : data ? `${source.file}: ${count(data.series.size, "series", "series")}, ${count(data.read.rows, "row")}, one per ${spoken(data.read.found)}.`
    : `${source.file}: ${count(source.table.lines.length, "row")}.`;
  fill($("source"), text);
  $("columns-box").hidden = !isFile;
  if (isFile && source.roles) {
    const change = (next) => {
      Object.assign(source, next);
      if (next.roles) source.chosen = true;
      const focused = document.activeElement?.id;
      rebuild().then(() => focused && $(focused)?.focus()).catch(refuse);
    };
    fill($("columns"), columnsView(source.table, source, state.schema, change));
  }
  const notes = data?.notes ?? [];
  $("notes-box").hidden = !notes.length;
  fill($("notes-title"), `What was read: ${count(notes.length, "remark")}`);
  fill($("notes"), notes.map((note) => el("li", {}, note)));
  $("series-box").hidden = !data || data.series.size < 2;
}

function listSeries() {
  const wanted = $("search").value.trim().toLowerCase();
  const all = [...state.data.series.keys()];
  const found = all.filter((id) => id.toLowerCase().includes(wanted));
  const first = [...state.ids, ...found.filter((id) => !state.ids.includes(id))].filter((id) => found.includes(id)).slice(0, MOST_LISTED);
  fill($("series"), first.map((id) => el("label", { class: "tick" },
    el("input", { type: "checkbox", checked: state.ids.includes(id), onchange: (e) => selectSeries(id, e.target) }), ` ${id}`)));
  const left = found.length - first.length;
  fill($("series-more"), found.length ? (left > 0 ? `${count(left, "series", "series")} more: search for them.` : "") : "No series is called that.");
  fill($("series-title"), `Series (${state.ids.length} of ${all.length})`);
}

function selectSeries(id, box) {
  if (box.checked && state.ids.length >= MOST_SHOWN) {
    box.checked = false;
    say(`${MOST_SHOWN} series are shown at most: take one out first.`);
    return;
  }
  if (!box.checked && state.ids.length === 1) {
    box.checked = true;
    say("One series stays selected.");
    return;
  }
  state.ids = box.checked ? [...state.ids, id] : state.ids.filter((other) => other !== id);
  fill($("series-title"), `Series (${state.ids.length} of ${state.data.series.size})`);
  soon(150);
}

// Settings.

function drawIntervals() {
  fill($("intervals"), INTERVALS.map((percent) => el("label", { class: "chip" },
    el("input", { type: "checkbox", checked: state.intervals.has(percent), onchange: (e) => {
      state.intervals[e.target.checked ? "add" : "delete"](percent);
      soon(150);
    } }), `${percent} %`)));
}

/** Models whose covariates the data lack, or hold in another role, cannot be chosen. */
async function drawCompared() {
  const [{ covariates }] = state.data.series.values(), schema = state.source.kind === "file" ? state.schema : state.about.covariates;
  const given = (c) => covariates[c.name] !== undefined && schema.some((s) => s.name === c.name && s.role === c.role && s.type === c.type);
  state.comparable = new Map((await others(state.about)).map((m) => [m.name, m.covariates.filter((c) => c.required && !given(c)).map((c) => c.name).join(", ")]));
  const box = (key, name, off = false) => el("label", { class: "tick" },
    el("input", { type: "checkbox", disabled: off, checked: state.compared.has(key) && !off, onchange: (e) => {
      state.compared[e.target.checked ? "add" : "delete"](key);
      soon(0);
    } }), ` ${name}`);
  fill($("compare"),
    [...state.comparable].map(([name, lacks]) => box(`model:${name}`, lacks ? `${name}: needs ${lacks}` : name, lacks !== "")),
    box("naive", "naive: the last value"),
    el("div", { class: "row season" }, box("seasonal", "seasonal naive, season"),
      el("input", { id: "season", type: "text", inputmode: "numeric", class: "short", value: String(state.season), "aria-label": "Steps of a season", oninput: (e) => {
        const season = Number(e.target.value);
        const fine = Number.isInteger(season) && season >= 1 && season <= 100_000;
        e.target.setAttribute("aria-invalid", String(!fine));
        if (!fine) return;
        state.season = season;
        soon(250);
      } })),
    el("p", { class: "quiet" }, "Both naive forecasts are computed in this browser, not by the service."));
}

// Asking.

const readHorizon = () => {
  const text = state.horizon.trim();
  return /^-?\d+$/.test(text) ? Number(text) : text;
};

/** The last stamp that a forecast sees; null for all there is. */
function cutStamp() {
  if (!state.back) return null;
  const [series, size] = longest();
  return shift(state.data.freq, series.start, size - 1 - state.back);
}

/** Of the selected series the one that ends last. */
function longest() {
  const all = state.ids.map((id) => state.data.series.get(id));
  const end = (s) => shift(state.data.freq, s.start, s.y.length - 1);
  const last = all.reduce((a, b) => (end(b) > end(a) ? b : a));
  return [last, last.y.length];
}

function soon(milliseconds) {
  clearTimeout(waiting);
  waiting = setTimeout(() => forecast().catch(refuse), milliseconds);
}

async function answerOf(model, asked, signal) {
  const key = JSON.stringify([model.name, asked]);
  if (kept.has(key)) return kept.get(key);
  const answer = await ask("v1/forecast", bodyOf(state.data, { about: model, ...asked }), signal);
  if (answer.model.version !== model.version) {
    // A new champion: what the old one said is not laid beside it.
    kept.clear();
    model.version = answer.model.version;
    describeModel();
  }
  if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value);
  kept.set(key, answer);
  return answer;
}

async function forecast() {
  if (!state.data) return;
  running?.abort();
  const mine = (running = new AbortController());
  drawAsOf();
  const asked = { ids: state.ids, cut: cutStamp(), horizon: readHorizon(), intervals: [...state.intervals].sort((a, b) => a - b), extend: state.extend };
  const names = [state.about.name, ...[...state.compared].filter((k) => k.startsWith("model:")).map((k) => k.slice(6))];
  const served = names.filter((name) => name === state.about.name || state.comparable.get(name) === "");
  $("charts").setAttribute("aria-busy", "true");
  const began = performance.now();
  const results = await Promise.allSettled(served.map(async (name) => answerOf(await about(name), asked, mine.signal)));
  if (mine.signal.aborted) return;
  $("charts").removeAttribute("aria-busy");
  state.milliseconds = performance.now() - began;
  state.asked = asked;
  const failed = results.find((r) => r.status === "rejected");
  state.answers = served.map((name, i) => [name, results[i].value ?? null]);
  if (failed) refuse(failed.reason, served[results.indexOf(failed)]);
  else accept();
  show();
}

function accept() {
  fill($("error"));
  $("horizon").removeAttribute("aria-invalid");
  $("horizon-error").hidden = true;
}

// Showing.

function drawAsOf() {
  const [series, size] = longest(), most = Math.max(size - 1, 0);
  state.back = Math.min(state.back, most);
  $("asof-box").hidden = most < 1;
  const slider = $("asof");
  slider.min = String(-most);
  slider.value = String(-state.back);
  const stamp = label(state.data.freq, shift(state.data.freq, series.start, size - 1 - state.back));
  const text = state.back ? `${stamp}, ${count(state.back, "step")} before the end` : `${stamp}, the end of the history`;
  slider.setAttribute("aria-valuetext", text);
  fill($("asof-shown"), text);
  $("asof-back").disabled = state.back >= most;
  $("asof-on").disabled = state.back === 0;
}

function show() {
  const { data, asked } = state;
  const baselines = { naive: state.compared.has("naive"), seasonal: state.compared.has("seasonal") ? state.season : 0 };
  state.shown = asked.ids.map((id) => forecastsOf(data, id, asked.cut, state.answers, baselines, asked.horizon));
  for (const [id, card] of charts) {
    if (asked.ids.includes(id) && card.data === data) continue;
    card.chart.close();
    card.place.remove();
    charts.delete(id);
  }
  let long = false;
  state.shown.forEach((one) => {
    const drawing = drawingOf(data, one, state.season, state.everything, phone.matches);
    long ||= drawing.window !== null && drawing.window[0] > drawing.x[0];
    let card = charts.get(one.id);
    if (!card) charts.set(one.id, (card = makeCard(one.id, data)));
    card.one = one;
    if (card.chart) card.chart.update(drawing);
    else card.chart = new Chart(card.canvas, drawing, (index, byKey) => readOut(card, index, byKey));
    $("charts").append(card.place);
    describe(card);
  });
  $("span").hidden = !long && !state.everything;
  drawLegend();
  showBelow();
  const [name, answer] = state.answers[0];
  if (answer?.forecasts.length) {
    const { forecasts, model } = answer, steps = forecasts[0].mean.length;
    const many = count(forecasts.length, "series", "series");
    fill($("status"), `${name}, version ${model.version}: ${count(steps, "step")} of ${many} in ${Math.round(state.milliseconds)} ms.`);
  } else fill($("status"), "");
}

function makeCard(id, data) {
  const name = `chart-${charts.size}-${Math.random().toString(36).slice(2, 8)}`;
  const readout = el("p", { class: "readout" });
  const canvas = el("div", { class: "chart", tabindex: "0", role: "group", "aria-roledescription": "chart", "aria-labelledby": name, "aria-describedby": "chart-help" });
  const below = el("div", { class: "below" });
  const place = el("article", { class: "card", "aria-labelledby": name }, el("header", {}, el("h2", { id: name }, id), readout), canvas, below);
  $("charts").append(place);
  return { id, data, place, canvas, readout, below, chart: null, one: null };
}

/** Below a chart: what is wrong with the series, and how far each line lay from what happened. */
function describe(card) {
  const { one } = card, parts = [];
  for (const problem of one.problems) {
    parts.push(el("p", { class: "fault" }, `${problem.name} gives no forecast: ${problem.detail}. ${cureOf(problem.code)}`));
    const steps = state.about.horizon;
    if (problem.code === "missing_future_covariate" && state.back < steps && one.series.y.length > steps) {
      parts.push(el("p", {}, el("button", { type: "button", class: "plain", onclick: () => moveAsOf(steps - state.back) }, `As of ${count(steps, "step")} before the end`)));
    }
  }
  for (const note of one.notes) {
    parts.push(el("p", { class: "quiet" }, `${note.name} ${noteOf(note)}.`));
  }
  const errors = errorsOf(one);
  if (errors) {
    const items = errors.lines.filter((line) => line.error !== null).map((line) => el("li", {}, swatch(line), el("span", {}, `${line.name} `), el("b", {}, short(line.error)),
      line.inside.length ? el("span", { class: "quiet" }, ` ${line.inside.map((i) => `${i.count} of ${errors.steps} inside ${i.percent} %`).join(", ")}`) : null));
    parts.push(el("p", { class: "quiet" }, `Mean absolute error over the ${count(errors.steps, "step")} known since (a model may have been trained on them):`), el("ul", { class: "errors" }, items));
  }
  fill(card.below, parts);
  readOut(card, card.chart.index, false);
}

function readOut(card, index, byKey) {
  if (!card.one || index === null || index === undefined) {
    fill(card.readout);
    return;
  }
  const { stamp, found } = at(card.data, card.one, index);
  const text = ([name, value]) => `${name} ${Array.isArray(value) ? `${short(value[0])} to ${short(value[1])}` : value === null ? "missing" : short(value)}`;
  fill(card.readout, el("b", {}, stamp), found.map((pair) => el("span", {}, text(pair))));
  if (byKey) fill($("spoken"), [stamp, ...found.map(text)].join(", "));
}

function legendLines() {
  const lines = new Map([[HISTORY.key, HISTORY]]);
  for (const one of state.shown) for (const line of one.lines) lines.set(line.key, line);
  if (state.shown.some((one) => one.actual.some((v) => v !== null))) lines.set(HAPPENED.key, HAPPENED);
  return [...lines.values()];
}

function drawLegend() {
  const percents = state.asked.intervals;
  fill($("legend"), legendLines().map((line) => el("li", {}, swatch(line), line.name)),
    percents.length && state.answers[0][1] ? el("li", {}, el("span", { class: "band", "aria-hidden": "true" }), `${percents.join(", ")} % intervals`) : null);
}

function showBelow() {
  const any = state.shown.some((one) => one.lines.length);
  $("below").hidden = false;
  $("save-csv").disabled = $("save-png").disabled = !any;
  fill($("panel-table"),
    el("label", { class: "tick" }, el("input", { id: "with-history", type: "checkbox", checked: state.history, onchange: (e) => {
      state.history = e.target.checked;
      showBelow();
      $("with-history").focus();
    } }), " with the history (its last 500 values)"),
    tableView(state.data, state.shown, state.history));
  showCode();
}

function codeText() {
  const { data, source } = state, asked = { about: state.about, ...state.asked };
  if (state.code === "client") return asClient(address(), data, asked, source, hasKey());
  return (state.code === "python" ? asPython : asCurl)(address(), bodyOf(data, asked), hasKey());
}

function showCode() {
  if ($("panel-code").hidden || !state.asked) return;
  const text = codeText(), half = LONG_CODE / 2;
  fill($("code"), text.length <= LONG_CODE ? text : `${text.slice(0, half)}\n… ${(text.length - LONG_CODE).toLocaleString("en")} characters more, which Copy takes along …\n${text.slice(-half)}`);
}

const say = (text) => fill($("status"), text);

/** What went wrong, where, and what to do; everything typed stays. */
function refuse(error, model = "") {
  if (error instanceof TableError) {
    const open = { columns: "columns-box", order: "columns-box", decimal: "columns-box" }[error.control];
    if (open) $(open).open = true;
    fill($("error"), refusalView("The table cannot be forecast as it is", [{ detail: error.message }], error.cure));
    hideResults();
    return;
  }
  if (!(error instanceof ApiError)) {
    console.error(error);
    fill($("error"), refusalView("This page failed", [{ detail: String(error) }], "Load it again; what you dropped has to be dropped again."));
    return;
  }
  const { problem, status } = error, keyed = status === 401 || status === 403;
  if (keyed) {
    $("key-box").hidden = false;
    $("key").focus();
  }
  const faults = (problem.errors ?? []).map((fault) => ({ ...fault, place: placeOf(fault.pointer, state.data, state.ids, fault.place) }));
  const onHorizon = faults.filter((fault) => fault.pointer === "/horizon");
  $("horizon").toggleAttribute("aria-invalid", onHorizon.length > 0);
  if (onHorizon.length) $("horizon").setAttribute("aria-invalid", "true");
  $("horizon-error").hidden = !onHorizon.length;
  fill($("horizon-error"), onHorizon.map((fault) => fault.detail).join("; "));
  const actions = [];
  if (onHorizon.some((f) => f.code === "horizon_too_long") && state.about) {
    const most = state.about.horizon;
    actions.push(el("button", { type: "button", onclick: () => setHorizon(String(most)) }, `Ask for ${most}`));
    if (!$("extend").disabled) actions.push(el("button", { type: "button", class: "plain", onclick: () => { $("extend").checked = state.extend = true; soon(0); $("horizon").focus(); } }, "Go beyond"));
  }
  if (status === 0 || status === 429 || status >= 500) actions.push(el("button", { type: "button", onclick: () => (state.about ? soon(0) : start()) }, "Try again"));
  const more = problem.errors_omitted ? [{ detail: `and ${problem.errors_omitted} more` }] : [];
  const wait = problem.wait ? ` Retry after ${problem.wait} s.` : "";
  const title = `${model ? `${model}: ` : ""}${problem.title ?? "Refused"}`;
  fill($("error"), refusalView(title, [...(faults.length ? faults : [{ detail: problem.detail }]), ...more], cureOf(problem.code ?? faults[0]?.code) + wait, actions));
  if (!state.data || keyed) hideResults();
}

function setHorizon(text) {
  state.horizon = $("horizon").value = text;
  soon(0);
  $("horizon").focus();
}

function hideResults() {
  for (const card of charts.values()) {
    card.chart.close();
    card.place.remove();
  }
  charts.clear();
  state.shown = [];
  fill($("legend"));
  fill($("status"));
  $("asof-box").hidden = $("below").hidden = $("span").hidden = true;
  $("save-csv").disabled = $("save-png").disabled = true;
}

// Listeners.

function moveAsOf(by) {
  state.back = Math.max(0, state.back + by);
  soon(0);
}

function chooseTab(tab) {
  for (const name of ["table", "code"]) {
    const on = name === tab;
    $(`tab-${name}`).setAttribute("aria-selected", String(on));
    $(`tab-${name}`).tabIndex = on ? 0 : -1;
    $(`panel-${name}`).hidden = !on;
  }
  showCode();
}

function listen() {
  $("file").addEventListener("change", (e) => { if (e.target.files[0]) openFile(e.target.files[0]); e.target.value = ""; });
  $("example").addEventListener("click", () => {
    state.source = { kind: "example" };
    state.ids = [];
    state.back = 0;
    if (state.about) rebuild().catch(refuse);
  });
  const over = (on) => (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", on);
  };
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => {
    over(false)(event);
    const file = event.dataTransfer?.files[0];
    if (file) openFile(file);
  });
  $("model").addEventListener("change", (e) => {
    state.chosen = true;
    chooseModel(e.target.value).catch(refuse);
  });
  $("horizon").addEventListener("input", (e) => { state.horizon = e.target.value; soon(350); });
  $("extend").addEventListener("change", (e) => { state.extend = e.target.checked; soon(0); });
  $("search").addEventListener("input", listSeries);
  $("asof").addEventListener("input", (e) => { state.back = -Number(e.target.value); drawAsOf(); soon(40); });
  $("asof-back").addEventListener("click", () => moveAsOf(1));
  $("asof-on").addEventListener("click", () => moveAsOf(-1));
  $("span").addEventListener("click", () => {
    state.everything = !state.everything;
    $("span").setAttribute("aria-pressed", String(state.everything));
    for (const card of charts.values()) card.chart.moved = false;
    show();
  });
  $("save-csv").addEventListener("click", () => {
    download(new Blob([asCsv(rowsOf(state.data, state.shown))], { type: "text/csv" }), "forecast.csv");
  });
  $("save-png").addEventListener("click", async () => {
    const drawn = [...charts.values()].map(({ id, chart }) => ({ name: id, chart }));
    download(await picture(drawn, legendLines()), "forecast.png");
  });
  for (const tab of ["table", "code"]) $(`tab-${tab}`).addEventListener("click", () => chooseTab(tab));
  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const next = $("tab-table").getAttribute("aria-selected") === "true" ? "code" : "table";
    chooseTab(next);
    $(`tab-${next}`).focus();
  });
  for (const box of document.querySelectorAll("[name=code]")) box.addEventListener("change", () => { state.code = box.value; showCode(); });
  $("copy").addEventListener("click", async () => {
    const text = codeText();
    try {
      await navigator.clipboard.writeText(text);
      fill($("copy"), "Copied");
    } catch {
      // Without HTTPS and off loopback a browser keeps its clipboard: the text can be taken by hand.
      fill($("code"), text);
      getSelection().selectAllChildren($("code"));
      fill($("copy"), "Press Ctrl+C");
    }
    setTimeout(() => fill($("copy"), "Copy"), 2000);
  });
  const enter = () => {
    useKey($("key").value);
    $("key").value = "";
    fill($("error"));
    start();
  };
  $("key-use").addEventListener("click", enter);
  $("key").addEventListener("keydown", (event) => { if (event.key === "Enter") enter(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (state.shown.length) show(); });
}

listen();
drawIntervals();
// On a phone the chart comes first, settings when asked for.
if (phone.matches) for (const block of document.querySelectorAll("details.block")) block.open = false;
start();
