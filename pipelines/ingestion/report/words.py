"""The words for each thing that a report can say."""

from __future__ import annotations

from pipelines.ingestion.ledger import Ledger

WORDS = {
    "no_id": "rows without an id",
    "dropped_id": "rows of series left out",
    "unreadable_stamp": "rows without a readable stamp",
    "identical_duplicate": "identical duplicates",
    "conflicting_duplicate": "conflicting duplicates",
    "other_freq": "rows of series with another step",
    "snapped_together": "rows merged after snapping",
    "merged": "rows merged by resampling",
    "leading_blank": "blanks before the series begins",
    "trailing_blank": "blanks after the series ends",
    "empty_series": "rows of series without values",
    "gap": "absent rows",
    "unsorted": "rows out of order",
    "other_freq_kept": "rows of series with another step",
    "id_twin_kept": "ids in two spellings with rows for the same stamps",
    "no_static": "series without static values",
    "static_varies": "static values that change within their series",
    "future_missing": "covariates not known up to the horizon",
    "zero": "zeros read as missing",
    "negative": "rare negative values",
    "out_of_range_kept": "values out of range",
    "id_blanks": "ids with stray blanks",
    "id_case": "ids in another spelling",
    "not_a_number": "values that are no numbers",
    "missing_code": "codes for missing",
    "sentinel": "sentinel values",
    "sentinel_kept": "values that may be codes for missing",
    "sentinel_high": "values that may be codes for missing",
    "infinite": "infinite values",
    "out_of_range": "values out of range",
    "irregular": "stamps off the grid",
    "resampled": "rows resampled",
    "unknown_unit": "unknown units",
    "skipped_hour": "stamps in a skipped hour",
    "doubled_hour": "stamps in a doubled hour",
    "spike": "spikes",
    "spike_kept": "spikes",
    "flat": "flat stretches",
    "flat_kept": "flat stretches",
    "unit_change": "changes of unit",
    "negative_kept": "rare negative values",
}


DONE = {"removed": "removed", "inserted": "inserted", "changed": "mended", "flagged": "flagged"}


def mended(ledger: Ledger) -> str:
    """What was done to a table, in one line; "" for nothing."""
    done: dict[tuple[str, str], int] = {}
    for entry in ledger.entries.values():
        if entry.repair or entry.action in ("removed", "flagged"):
            what = (WORDS.get(entry.code, entry.code), DONE[entry.action])
            done[what] = done.get(what, 0) + entry.count
    return ", ".join(f"{count:,} {what} {verb}" for (what, verb), count in done.items())
