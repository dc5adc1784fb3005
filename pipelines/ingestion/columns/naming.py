"""Names of series: blanks, twins that differ in case only, names that are no series."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import ConfigError, DataError
from pipelines.ingestion.config import IdConfig
from pipelines.ingestion.ledger import Ledger


def trimmed(texts: pa.Array) -> pa.Array:
    """Names without blanks around them, double blanks and signs that nobody sees."""
    texts = pc.replace_substring_regex(texts, "[\u200b\u200e\u200f\ufeff\u00ad]", "")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, "[\\s\u00a0]+", " "))


def clean_names(ids: Array, codes: Array, row: Array, config: IdConfig) -> tuple[Array, Array]:
    """Names without stray blanks, equal names joined; codes follow. Blank names get code -1."""
    texts = pa.array(ids, pa.string())
    lengths = pc.utf8_length(texts)
    longest = pc.max(lengths).as_py() or 0
    if longest > config.max_length:
        at = int(np.flatnonzero(lengths.to_numpy(zero_copy_only=False) > config.max_length)[0])
        first = int(np.flatnonzero(codes == at)[0])
        raise DataError(
            f"row {row[first]}: the id beginning {str(ids[at])[:40]!r} has {longest:,} characters, "
            f"more than ids.max_length = {config.max_length}; is the separator right?"
        )
    if config.trim:
        texts = trimmed(texts)
    number, names = pd.factorize(np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object))
    names = np.asarray(names, dtype=object)
    if len(names) == len(ids) and not (names == "").any():
        return names, codes
    number = np.where((names == "")[number] | (number < 0), -1, number) if len(names) else number
    return names, np.concatenate([number, [-1]])[codes]


def note_names(
    before: Array, codes: Array, after: Array, new: Array, row: Array, ds: Array, ledger: Ledger
) -> None:
    """Write down rows whose id was trimmed."""
    if len(before) == len(after) and (before == after).all():
        return
    named = np.concatenate([after, [None]])
    changed = np.flatnonzero((np.concatenate([before, [None]])[codes] != named[new]) & (new >= 0))
    ledger.note(
        "id_blanks", "changed", "blanks around or inside the id were removed",
        series=new[changed], ds=ds[changed], row=row[changed], column="id",
        before=before[codes[changed]], after=after[new[changed]],
    )  # fmt: skip


def dropped_names(names: Array, config: IdConfig) -> Array:
    """[K] names that the config leaves out."""
    out = np.zeros(len(names), bool)
    texts = pa.array(names, pa.string())
    for pattern in config.drop:
        try:
            mask = pc.match_substring_regex(texts, pattern)
        except pa.ArrowInvalid as error:
            raise ConfigError(f"ids.drop: {pattern!r} is no regular expression: {error}") from None
        out |= mask.to_numpy(zero_copy_only=False)
    return out


def fold(names: Array) -> Array:
    """[K] one number for all names that differ in case or Unicode form only."""
    return np.asarray(fold_text(pa.array(names, pa.large_string())).dictionary_encode().indices)


def fold_text(texts: pa.Array) -> pa.Array:
    """[K] the names as they are alike for all that differ in case or Unicode form only."""
    ascii_only = pc.all(pc.string_is_ascii(texts)).as_py()
    return pc.utf8_lower(texts if ascii_only else pc.utf8_normalize(texts, form="NFKC"))


def join_twins(
    names: Array, codes: Array, ds: Array, row: Array, config: IdConfig, ledger: Ledger
) -> Array:
    """Codes with twins joined: names that differ in case or Unicode form only.

    With ``auto``, twins are joined when less than half of the rarer one's rows have a row of the
    other at the same stamp: two spellings of one series share the work, two series repeat it.
    """
    if config.twins == "keep" or len(names) < 2:
        return codes
    group = fold(names)
    count = int(group.max()) + 1
    if count == len(names):
        return codes
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    # The commonest spelling of each group is the series' name.
    order = np.lexsort((np.arange(len(names)), -sizes, group))
    first = np.concatenate([[True], group[order][1:] != group[order][:-1]])
    main = np.empty(count, np.int64)
    main[group[order][first]] = order[first]
    target = main[group]
    twins = np.flatnonzero(target != np.arange(len(names)))
    twins = twins[sizes[twins] > 0]
    if not len(twins):
        return codes
    if config.twins == "refuse":
        at = twins[0]
        raise DataError(
            f"ids {names[at]!r} and {names[target[at]]!r} differ in case only "
            f"({len(twins)} such pairs); name them alike, or set ids.twins: merge or keep"
        )
    if config.twins == "auto":
        clash = _clashes(codes, ds, target, twins, len(names))
        apart = twins[clash >= 0.5 * sizes[twins]]
        if len(apart):
            rows = np.flatnonzero(np.isin(codes, apart))
            ledger.note(
                "id_twin_kept", "flagged",
                "the id differs from another in case only, but both have rows for the same stamps",
                series=codes[rows], ds=ds[rows], row=row[rows], column="id", repair=False,
            )  # fmt: skip
        target[apart] = apart
    joined = np.concatenate([target, [-1]])[codes]
    ledger.renumber(target)
    changed = np.flatnonzero(joined != codes)
    ledger.note(
        "id_case", "changed", "the id was written differently for the same series",
        series=joined[changed], ds=ds[changed], row=row[changed], column="id",
        before=names[codes[changed]], after=names[joined[changed]],
    )  # fmt: skip
    return joined


def _clashes(codes: Array, ds: Array, target: Array, twins: Array, count: int) -> Array:
    """Rows of each twin at a stamp where the main spelling has one too."""
    mains = np.unique(target[twins])
    rows = np.flatnonzero(np.isin(codes, np.concatenate([twins, mains])))
    here = pd.DataFrame({"code": codes[rows], "main": target[codes[rows]], "ds": ds[rows]})
    main = here[here["code"] == here["main"]][["main", "ds"]].drop_duplicates()
    other = here[here["code"] != here["main"]]
    both = other.merge(main, on=["main", "ds"])
    return np.bincount(both["code"], minlength=count)[twins]
