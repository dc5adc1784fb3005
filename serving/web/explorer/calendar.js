// Steps of time, as the service counts them. Stamps are milliseconds of the wall clock read as UTC
// (or whole numbers, for models that count steps), so that no zone of this browser plays a part.

const MS = { ms: 1, s: 1e3, min: 6e4, h: 36e5, D: 864e5, W: 7 * 864e5 };
export const DAY = MS.D;
const NAMES = { ms: "millisecond", s: "second", min: "minute", h: "hour", D: "day", W: "week" };

/** {unit, size, end, alias} of an alias such as 15min, D, W-SUN, B, MS, QE, YS or step. */
export function parseFreq(alias) {
  const match = /^(\d*)([A-Za-z]+)(?:-([A-Z]{3}))?$/.exec(String(alias));
  if (!match) return null;
  const count = Number(match[1] || 1), name = match[2];
  const freq = (unit, size, end = false) => ({ unit, size, end, alias: String(alias) });
  if (name === "step") return freq("step", count);
  if (name === "B") return freq("business", count);
  if (MS[name]) return freq("time", count * MS[name]);
  const months = { M: 1, Q: 3, Y: 12 }[name[0]];
  if (months && (name[1] === "S" || name[1] === "E") && name.length === 2) {
    return freq("month", count * months, name[1] === "E");
  }
  return null;
}

/** The step in words: "month", "15 minutes". */
export function spoken(freq) {
  const many = (count, word) => (count === 1 ? word : `${count} ${word}s`);
  if (freq.unit === "step") return many(freq.size, "step");
  if (freq.unit === "business") return many(freq.size, "business day");
  if (freq.unit === "month") {
    if (freq.size % 12 === 0) return many(freq.size / 12, "year");
    return freq.size === 3 ? "quarter" : many(freq.size, "month");
  }
  const name = ["W", "D", "h", "min", "s", "ms"].find((n) => freq.size % MS[n] === 0) ?? "ms";
  return many(freq.size / MS[name], NAMES[name]);
}

export const sameStep = (a, b) => a.unit === b.unit && a.size === b.size && a.end === b.end;
export const subDaily = (freq) => freq.unit === "time" && freq.size < DAY;

const monthOf = (stamp) => {
  const date = new Date(stamp);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
};
const dayOf = (stamp) => new Date(stamp).getUTCDate();
const clockOf = (stamp) => ((stamp % DAY) + DAY) % DAY;
export const weekday = (stamp) => (((Math.floor(stamp / DAY) + 3) % 7) + 7) % 7;

const utc = (month, day) => {
  // Date.UTC takes years below 100 for those of the last century.
  const date = new Date(0);
  date.setUTCFullYear(Math.floor(month / 12), ((month % 12) + 12) % 12, day);
  return date.getTime();
};
const lastDay = (month) => dayOf(utc(month + 1, 0));
export const isMonthEnd = (stamp) => dayOf(stamp) === lastDay(monthOf(stamp));

/** A stamp moved by whole steps. */
export function shift(freq, stamp, steps) {
  if (freq.unit === "step" || freq.unit === "time") return stamp + steps * freq.size;
  if (freq.unit === "business") return businessDay(businessNumber(stamp) + steps * freq.size) + clockOf(stamp);
  const month = monthOf(stamp) + steps * freq.size;
  const day = freq.end ? lastDay(month) : Math.min(dayOf(stamp), lastDay(month));
  return utc(month, day) + clockOf(stamp);
}

/** Steps from one stamp to another; no whole number where the other does not lie on the grid. */
export function steps(freq, start, stamp) {
  if (freq.unit === "step" || freq.unit === "time") return (stamp - start) / freq.size;
  if (clockOf(start) !== clockOf(stamp)) return NaN;
  if (freq.unit === "business") {
    if (weekday(stamp) > 4 || weekday(start) > 4) return NaN;
    return (businessNumber(stamp) - businessNumber(start)) / freq.size;
  }
  const a = dayOf(start), b = dayOf(stamp);
  const cut = (isMonthEnd(stamp) && b < a) || (isMonthEnd(start) && a < b);
  if (freq.end ? !isMonthEnd(start) || !isMonthEnd(stamp) : a !== b && !cut) return NaN;
  return (monthOf(stamp) - monthOf(start)) / freq.size;
}

const businessNumber = (stamp) => {
  const day = Math.floor(stamp / DAY) + 3; // 0 is a Monday
  return Math.floor(day / 7) * 5 + Math.min(((day % 7) + 7) % 7, 4);
};
const businessDay = (number) => (Math.floor(number / 5) * 7 + (((number % 5) + 5) % 5) - 3) * DAY;

/** First and last days of months, each as the model stamps them: the same months. */
export function toEdge(freq, stamp, fromEnd) {
  if (fromEnd === freq.end) return stamp;
  const month = monthOf(stamp) + (freq.end ? freq.size - 1 : 1 - freq.size);
  return utc(month, freq.end ? lastDay(month) : 1) + clockOf(stamp);
}

/** The step that distinct, rising stamps keep, or null: what most of them say. */
export function inferFreq(stamps, whole = false) {
  // Enough to tell a step by, however long the series.
  stamps = stamps.slice(0, 5000);
  if (stamps.length < 2) return null;
  const gaps = [];
  for (let i = 1; i < stamps.length; i++) gaps.push(stamps[i] - stamps[i - 1]);
  const step = Math.min(...gaps);
  if (whole) return parseFreq(step === 1 ? "step" : `${step}step`);
  const clock = clockOf(stamps[0]);
  if (step >= 28 * DAY && stamps.every((s) => clockOf(s) === clock)) {
    const ends = stamps.every(isMonthEnd);
    if (ends || stamps.every((s) => dayOf(s) === dayOf(stamps[0]))) {
      const size = stamps.slice(1).map((s, i) => monthOf(s) - monthOf(stamps[i])).reduce(divisor);
      const unit = size % 12 === 0 ? ["Y", 12] : size % 3 === 0 ? ["Q", 3] : ["M", 1];
      const count = size / unit[1];
      return parseFreq(`${count === 1 ? "" : count}${unit[0]}${ends ? "E" : "S"}`);
    }
  }
  if (step === DAY && !stamps.some((s) => weekday(s) > 4)) {
    if (stamps.some((s, i) => i && s - stamps[i - 1] === 3 * DAY)) return parseFreq("B");
  }
  for (const name of ["W", "D", "h", "min", "s", "ms"]) {
    if (step % MS[name] === 0) return parseFreq(`${step === MS[name] ? "" : step / MS[name]}${name}`);
  }
  return null;
}

const divisor = (a, b) => (b ? divisor(b, a % b) : a);

const two = (n) => String(n).padStart(2, "0");

/** A stamp as people read it, no finer than the step. */
export function label(freq, stamp) {
  if (freq.unit === "step") return String(stamp);
  const date = new Date(stamp);
  const year = String(date.getUTCFullYear()).padStart(4, "0");
  const plain = clockOf(stamp) === 0;
  if (freq.unit === "month" && plain) {
    if (freq.size % 12 === 0) return year;
    return `${year}-${two(date.getUTCMonth() + 1)}`;
  }
  const day = `${year}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
  if (plain && !subDaily(freq)) return day;
  const seconds = stamp % 6e4 ? `:${two(date.getUTCSeconds())}` : "";
  return `${day} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())}${seconds}`;
}

/** A stamp as the service takes it: ISO 8601, with the offset that the table's stamps have. */
export function iso(stamp, offset = null) {
  const text = new Date(stamp).toISOString().replace("Z", "").replace(/\.000$/, "");
  const plain = offset === null && text.endsWith("T00:00:00");
  return plain ? text.slice(0, 10) : text + (offset === null ? "" : offsetText(offset));
}

function offsetText(minutes) {
  if (minutes === 0) return "Z";
  const size = Math.abs(minutes);
  return `${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}
