"""The words for each thing that a report can say."""

from __future__ import annotations

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
