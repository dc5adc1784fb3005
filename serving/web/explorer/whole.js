// Whole numbers as steps, but for those that are dates more likely: as `forecasting.data.whole`
// tells them, which a test holds this to.

const FIRST_YEAR = 1700, LAST_YEAR = 2200, EPOCH = [631152000, 4102444800], SHORTEST = 60;
const CLOCK = 1e8, FEW = 6, FEWEST = 3, SMALLEST = 90, CLEARLY = 1.05, COMPLETE = 1.5;
import { DAY } from "./calendar.js";

const day = (year, month, date) => {
  const stamp = new Date(0);
  stamp.setUTCFullYear(year, month - 1, date);
  return Math.floor(stamp.getTime() / DAY);
};
const gapsOf = (values) => values.slice(1).map((value, i) => value - values[i]);
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const all = (values, test) => values.every(test);

// Numbers that begin with a year of two digits or four: what they are, how they go on, the largest
// rest, and the place of each.
const weekOf = (year, week) => {
  const fourth = day(year, 1, 4);
  return Math.floor((fourth - ((((fourth + 3) % 7) + 7) % 7)) / 7) + week;
};
const dateOf = (year, rest) => {
  const month = Math.floor(rest / 100), date = rest % 100;
  return month < 1 || date < 1 || date > 31 ? null : day(year, month, date);
};
const FORMS = [
  ["years and months", 100, 12, (year, rest) => year * 12 + rest],
  ["years and weeks", 100, 53, weekOf],
  ["years and their days", 1000, 366, (year, rest) => day(year, 1, 1) - 1 + rest],
  ["years and quarters", 10, 4, (year, rest) => year * 4 + rest],
  ["dates", 10000, 1231, dateOf],
];

/** The commonest distance of neighbours, of several the least; Infinity where all are alike. */
function commonest(values) {
  const often = new Map();
  for (const gap of gapsOf(values)) if (gap > 0) often.set(gap, (often.get(gap) ?? 0) + 1);
  const top = most([...often.values()]);
  return least([...often].filter(([, count]) => count === top).map(([gap]) => gap));
}

/** Steps from the first number to the last for each, at their commonest distance. */
function growth(values) {
  const size = commonest(values);
  return size === Infinity ? Infinity : ((values.at(-1) - values[0]) / size + 1) / values.length;
}

function calendarForm(values) {
  const few = values.length < FEW, first = values[0], last = values.at(-1);
  if (values.length < FEWEST || first < (few ? SMALLEST : 1) || last > LAST_YEAR * 10000) return "";
  const plain = growth(values);
  for (const [name, unit, limit, place] of FORMS) {
    const years = values.map((v) => Math.floor(v / unit)), parts = values.map((v) => v % unit);
    const four = years[0] >= FIRST_YEAR;
    if (!(four && years.at(-1) <= LAST_YEAR) && years.at(-1) > 99) continue;
    if (years[0] === years.at(-1) || least(parts) < 1 || most(parts) > limit) continue;
    const places = years.map((year, i) => place(four ? year : year + (year < 69 ? 2000 : 1900), parts[i]));
    if (places.includes(null)) continue;
    const bound = Math.min(plain / CLEARLY, few ? 1 + 1e-9 : COMPLETE);
    if (growth(places.sort((a, b) => a - b)) < bound) return name;
  }
  return "";
}

function wholeDates(values) {
  for (const [name, unit, limit, several, days] of [
    ["years and months", 100, 12, false, 0],
    ["years and weeks", 100, 53, true, 0],
    ["years and their days", 1000, 366, true, 0],
    ["dates", 10000, 1231, false, 1],
    ["dates and hours", 1000000, 123123, false, 100],
  ]) {
    const years = values.map((v) => Math.floor(v / unit)), parts = values.map((v) => v % unit);
    let fits = years[0] >= FIRST_YEAR && years.at(-1) <= LAST_YEAR;
    fits &&= all(parts, (part) => part >= 1 && part <= limit);
    if (days) {
      fits &&= all(parts, (part) => {
        const date = Math.floor(part / days) % 100;
        return date >= 1 && date <= 31 && Math.floor(part / (unit / 100)) >= 1;
      });
    }
    if (fits && (!several || years[0] < years.at(-1))) return name;
  }
  return "";
}

function workingWeek(values) {
  if (values.length < 10 || least(gapsOf(values)) > 1) return false;
  const days = new Set(values.map((v) => v % 7)), span = values.at(-1) - values[0];
  if (days.size !== 5 || span < 14) return false;
  const [one, two] = [0, 1, 2, 3, 4, 5, 6].filter((d) => !days.has(d));
  return [1, 6].includes(two - one) && values.length / (span + 1) >= 0.6;
}

/**
 * What whole numbers are rather than plain steps, in words; "" where nothing speaks against steps.
 *
 * @param values distinct and rising
 */
export function datesIn(values) {
  if (values.length < 2) return "";
  const named = calendarForm(values) || wholeDates(values);
  if (named) return named;
  const gaps = gapsOf(values), smallest = least(gaps), largest = most(gaps);
  for (const [name, size] of [["seconds", 1], ["milliseconds", 1e3], ["microseconds", 1e6]]) {
    if (EPOCH[0] * size <= values[0] && values.at(-1) < EPOCH[1] * size && smallest >= SHORTEST * size) {
      return `Unix time in ${name}`;
    }
  }
  if (values.length >= FEW && values[0] >= 1) {
    if (workingWeek(values)) return "days without weekends, counted from some date";
    const within = (low, high) => smallest >= low && largest <= high;
    if (smallest < largest && (within(28, 31) || within(90, 92) || within(365, 366))) {
      return "days between months, quarters or years, counted from some date";
    }
  }
  const size = commonest(values);
  if (size >= 100 && /^10*$/.test(String(size))) return "dates whose last places stand still";
  return size >= SHORTEST && least(values.map(Math.abs)) >= CLOCK ? "counts of time" : "";
}

const COUNTS = [
  ["days since 1960, as SAS counts", DAY, -3653],
  ["days since 1970", DAY, 0],
  ["days of a spreadsheet", DAY, -25569],
  ["days of old Macs", DAY, -24107],
  ["hours since 1970", 36e5, 0],
  ["hours since 1900", 36e5, -613608],
  ["minutes since 1970", 6e4, 0],
];

/** Which counts of time plain steps may be, each with the day they would begin at. */
export function countsIn(values, now = Date.now()) {
  const low = values[0], high = values.at(-1);
  if (low < 10000 || low === high) return [];
  const end = Date.UTC(new Date(now).getUTCFullYear() + 2, 0, 1);
  return COUNTS.map(([what, unit, ahead]) => [what, (low + ahead) * unit, (high + ahead) * unit])
    .filter(([, , last]) => last >= Date.UTC(1990, 0, 1) && last < end)
    .map(([what, first]) => `${new Date(first).toISOString().slice(0, 10)} as ${what}`);
}
