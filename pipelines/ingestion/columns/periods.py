"""Parts of the time in a column of their own, or in a header: quarters, months, weeks, hours.

``Q1``, ``Jan``, ``M01``, ``W7``, ``H1`` name a part of a year or a day whose stamp stands in
another column. They are no series.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipelines.ingestion.stamps.foreign_months import foreign_months

FOREIGN = "month in another language"
# From the coarsest to the finest.
KINDS = (
    "half", "season", "quarter", "month", "period", "week", "day", "weekday", "part of the day",
    "hour", "clock", "slot", "minute",
)  # fmt: skip
# What a kind is called, and the letters that stand for it before a number.
_WORDS = {
    "half": "half|halves|half year|semester|semestre|halbjahr|hy",
    "season": "season|saison|jahreszeit",
    "quarter": "quarter|qtr|quartal|trimester|trimestre|kwartaal|kvartal",
    "month": "month|mth|mnth|monat|mois|mes|mese|maand|mon",
    "period": "period|periode|periodo|per",
    "week": "week|wk|woche|kw|cw|semaine|semana|settimana|weeknum",
    "day": "day|tag|jour|dia|día|giorno|dom|doy",
    "weekday": "weekday|wochentag|dow|day of week|day name",
    "hour": "hour|hr|hh|stunde|std|heure|hora|ora|uur|uhrzeit|time of day",
    "slot": "slot|interval|half hour|quarter hour|settlement period|sp",
    "minute": "minute|min",
}
_LETTERS = {
    "s": "half", "q": "quarter", "t": "quarter", "m": "month", "p": "period", "w": "week",
    "d": "day", "h": "hour", "he": "hour", "hb": "hour",
}  # fmt: skip
# The numbers of each kind, with those that stand for the whole (BLS: M13, Q05, S03).
_REACH = {
    "half": (1, 3), "season": (1, 4), "quarter": (1, 5), "month": (1, 13), "period": (1, 53),
    "week": (0, 53), "day": (1, 366), "weekday": (0, 7), "hour": (0, 24), "slot": (0, 1440),
    "clock": (0, 1440), "minute": (0, 59),
}  # fmt: skip
# How many make a whole: single letters and numbers name stores and products too.
_WHOLE = {"quarter": 4, "month": 12, "period": 12, "week": 50, "day": 28, "hour": 23}
_ENGLISH = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_MONTHS = {name[:k]: i for i, name in enumerate(_ENGLISH, 1) for k in range(3, len(name) + 1)}
_WEEKDAYS = {
    day[:k]: i
    for i, day in enumerate(
        ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"), 1
    )
    for k in range(3, len(day) + 1)
}
_OF_DAY = {
    word: i
    for i, word in enumerate(
        ("morning", "am", "forenoon", "noon", "midday", "afternoon", "pm", "evening", "night"), 1
    )
}
_SEASONS = {"winter": 1, "spring": 2, "summer": 3, "autumn": 4, "fall": 4}
_TWELVE = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_ROMAN = {r: i for i, r in enumerate(_TWELVE, 1)}
_NAMES = {
    "month": _MONTHS, "weekday": _WEEKDAYS, "season": _SEASONS, "part of the day": _OF_DAY,
    "roman": _ROMAN,
}  # fmt: skip
_BESIDE = r"(?:[ ]?(?:no|num|number|nr|name|id|code|label|index|ending|beginning|of.*))?"
_NAMED = {
    kind: re.compile(rf"(?:(?:iso|calendar|cal|fiscal|financial|fin)[ ])?(?:{words})s?{_BESIDE}")
    for kind, words in _WORDS.items()
}
_NUMBERED = re.compile(r"([^\W\d][^\d]{0,20}?)[\s._-]*(\d{1,4})")
_WORD = {w: kind for kind, words in _WORDS.items() for w in words.split("|")} | _LETTERS


@dataclass(frozen=True)
class Part:
    """What texts say of the time.

    Attributes
    ----------
    kind : one of `KINDS`. numbers : which one each text names, from 0 or 1; -1 for what is none.
    spelled : the texts say it themselves, ``Q1``; else only the column's name does.
    """

    kind: str
    numbers: tuple[int, ...]
    spelled: bool


def kind_of_name(name: str) -> str:
    """The kind of part that a column's name speaks of; "" for none."""
    words = re.sub(r"[\W_]+", " ", name).strip().lower()
    # The longest names say most: a quarter hour is no quarter.
    for kind in ("slot", "weekday", *_NAMED):
        if _NAMED[kind].fullmatch(words):
            return kind
    return ""


def part_of(texts: Iterable[str], name: str) -> Part | None:
    """What distinct texts of a column, or of a header, say of the time; None for nothing.

    Parameters
    ----------
    name : of their column, "" in a header: numbers alone say something only beside its name.
    """
    cells = [t.strip() for t in texts]
    readings = [_read(c) for c in cells]
    kinds = {f[0] for f in readings if f is not None}
    if 3 <= len(cells) <= 12 and all(_key(c) == "month" for c in cells) and None in readings:
        return Part("month", (-1,) * len(cells), True)
    if not cells or len(kinds) > 1 or sum(f is None for f in readings) > 0.1 * len(cells):
        return None
    named, kind = kind_of_name(name), kinds.pop()
    numbers = tuple(f[1] if f is not None else -1 for f in readings)
    valid_numbers = [n for n in numbers if n >= 0]
    if kind in ("number", "roman"):
        kind = named if kind == "number" or named in ("quarter", "month", "half") else ""
        return Part(kind, numbers, False) if kind and _within(valid_numbers, kind) else None
    if kind == "hour" and (named == "half" or max(valid_numbers) <= 2):
        kind = "half"
    letters = all(re.match(r"(?i)[a-z]{1,2}[\s._-]?\d|\d[a-z]$", c) for c in cells)
    if not _within(valid_numbers, kind):
        return None
    if letters and not named and len(set(valid_numbers)) < _WHOLE.get(kind, 1_000):
        return None
    return Part(kind, numbers, True)


def run_of_parts(names: list[str], apart: Collection[int] = ()) -> tuple[list[int], Part] | None:
    """The longest run of columns, by position, that name parts of a time: Jan … Dec, 0 … 23.

    Of numbers alone the kind is "": what they count, the stamps of the rows say.

    Parameters
    ----------
    apart : positions of columns that hold something else.
    """
    runs = itertools.groupby(range(len(names)), lambda i: "" if i in apart else _key(names[i]))
    at = max(([*group] for key, group in runs if key), key=len, default=[])
    if len(at) < 2:
        return None
    cells = [names[i].strip() for i in at]
    kind = _key(cells[0])
    if kind == FOREIGN or any(_read(c) is None and kind == "month" for c in cells):
        return at, Part(FOREIGN, tuple(range(len(at))), True)
    if (numbered := _NUMBERED.fullmatch(cells[0])) and kind.startswith(numbered[1].lower() + " #"):
        kind, numbers = "", tuple(int(_NUMBERED.fullmatch(c)[2]) for c in cells)  # type: ignore[index]
    else:
        numbers = tuple(f[1] for f in map(_read, cells) if f is not None)
    kind = "" if kind in ("number", "roman", "slot") else kind
    kind = "half" if kind == "hour" and max(numbers) <= 2 else kind
    steps = {b - a for a, b in itertools.pairwise(sorted(numbers))}
    if not kind and (steps != {1} or min(numbers) > 1):
        return None
    whole = len(set(numbers)) == len(numbers) and (not kind or _within(list(numbers), kind))
    return (at, Part(kind, numbers, bool(kind))) if whole else None


def _key(name: str) -> str:
    """What columns of one run have in common; "" for none."""
    name = name.strip()
    if reading := _read(name):
        return reading[0]
    if numbered := _NUMBERED.fullmatch(name):
        return f"{numbered[1].lower()} #"
    word = re.fullmatch(r"[^\W\d_]{3,10}\.?", name)
    return "month" if word and foreign_months([f"{name} 2020"], "") else ""


def _within(numbers: list[int], kind: str) -> bool:
    low, high = _REACH.get(kind, (0, 1_000_000))
    return bool(numbers) and low <= min(numbers) and max(numbers) <= high


def _read(text: str) -> tuple[str, int] | None:
    """The kind of a text and its number; ``number`` and ``roman`` are of any kind."""
    word = text.lower().rstrip(".")
    for kind, names in _NAMES.items():
        if word in names:
            return kind, names[word]
    if word == "sept":
        return "month", 9
    if re.fullmatch(r"\d{1,4}(\.0+)?", word):
        return "number", int(float(word))
    if clock := re.fullmatch(r"(\d{1,2})[:h](\d{2})(?::00)?(?:\s?-\s?\d{1,2}[:h]\d{2})?", word):
        hour, minute = int(clock[1]), int(clock[2])
        return ("clock", hour * 60 + minute) if hour <= 24 and minute < 60 else None
    if noon := re.fullmatch(r"(\d{1,2})\s?([ap])\.?m", word):
        return ("hour", int(noon[1]) % 12 + 12 * (noon[2] == "p")) if int(noon[1]) <= 12 else None
    if ends := re.fullmatch(r"([a-z]{3,9})\s?[-–/]\s?([a-z]{3,9})", word):
        first, last = _MONTHS.get(ends[1], 0), _MONTHS.get(ends[2], 0)
        return ("quarter", (first + 2) // 3) if first % 3 == 1 and last == first + 2 else None
    before = re.fullmatch(r"([^\W\d_]{1,12})[\s._#-]*(\d{1,4})", word)
    behind = re.fullmatch(r"(\d{1,4})(?:st|nd|rd|th|er|e|º|ª|°|\.)?[\s._-]*([^\W\d_]{1,12})", word)
    if before and before[1] in _WORD:
        return _WORD[before[1]], int(before[2])
    if behind and behind[2] in _WORD:
        return _WORD[behind[2]], int(behind[1])
    return None
