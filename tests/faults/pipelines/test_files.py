"""The catalogue of bad files: each refused with its error, its place and what to do."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import GatecastError
from pipelines.cli import BAD_INPUT, main
from pipelines.ingestion import DataConfig, ingest
from tests.faults.rows import Measure

HEAD = "unique_id,ds,y\n"
NAMED = {"id": "unique_id", "ds": "ds", "y": "y"}
NOISE = np.random.default_rng(0).bytes(3000)
TIDY = pd.DataFrame(
    {"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=20), "y": np.arange(20.0)}
)


def daily(y: str = "{d}", ds: str = "2024-01-{d:02d}", count: int = 20) -> str:
    """Rows of a series, with the day of each in what is written of it."""
    return "".join(f"a,{ds.format(d=d)},{y.format(d=d)}\n" for d in range(1, count + 1))


GOOD = HEAD + daily()


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, GOOD)
    return out.getvalue()


def parquet(frame: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.to_parquet(out)
    return out.getvalue()


def random_times() -> str:
    seconds = np.sort(np.random.default_rng(0).integers(0, 10**7, 300))
    stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, "s")
    return HEAD + "".join(f"a,{stamp},1\n" for stamp in stamps)


Case = tuple[bytes | str, dict[str, Any], tuple[str, ...]]
# What lies in the file, what is said of it, and what the error must name: the place and the cure.
FILES: dict[str, Case] = {
    "empty": (b"", {}, ("table is empty",)),
    "blank lines": (b"\n\n  \n", {}, ("table is empty",)),
    "comments only": (b"# nothing\n# at all\n", {}, ("comments only",)),
    "a head only": (HEAD, {}, ("a header but no rows",)),
    "every byte": (bytes(range(256)) * 40, {}, ("byte 0 is zero", "export it as CSV")),
    "zeros": (b"\0" * 500, {}, ("byte 0 is zero",)),
    "a picture": (b"\x89PNG\r\n\x1a\n" + NOISE, {}, ("no text table",)),
    "a broken zip": (b"PK\x03\x04" + NOISE, {}, ("zip archive", "unpack it")),
    "a broken Parquet": (b"PAR1" + NOISE, {}, ("cannot be read as Parquet",)),
    "a broken Arrow": (b"ARROW1" + NOISE, {}, ("cannot be read as Arrow",)),
    "a broken gzip": (b"\x1f\x8b" + NOISE, {}, ("compressed content is damaged",)),
    "a broken zstd": (b"\x28\xb5\x2f\xfd" + NOISE, {}, ("compressed content is damaged",)),
    "a gzip cut off": (gzip.compress(GOOD.encode())[:-12], {}, ("is damaged",)),
    "a zip of two": (zipped("a.csv", "b.csv"), {}, ("zip archive", "unpack it")),
    "an empty zip": (zipped(), {}, ("empty zip archive",)),
    "a pickle": (b"\x80\x04\x95" + NOISE, {}, ("is a pickle", "as CSV")),
    "a PDF": (b"%PDF-1.7\n" + NOISE, {}, ("a PDF document", "as CSV")),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + NOISE, {}, ("Excel workbook",)),
    "a web page": ("<html><body>404</body></html>\n", {}, ("web page", "download the table")),
    "JSON": ('{"a": [1, 2, 3], "b": 4}\n', {}, ("is JSON", "turn it into CSV")),
    "one word": ("one\n", {}, ("no column holds time stamps", "'one'", "data.ds")),
    "prose": ("just some words here\nand more\n", {}, ("no column holds time stamps",)),
    "words for y": (HEAD + daily("one"), NAMED, ("column y", "20 of 20", "'one'")),
    "words for ds": (HEAD + daily(ds="day"), NAMED, ("row 1", "'day'", "stamps.formats")),
    "no ids": (HEAD + ",2024-01-01,1\n,2024-01-02,2\n", NAMED, ("row 1", "names no series")),
    "one row each": (HEAD + "a,2024-01-01,1\nb,2024-01-01,2\n", NAMED, ("name it with freq",)),
    "two kinds of stamps": (
        HEAD + "a,1,1\na,2024-01-05,2\na,x,2\na,y,3\n", NAMED, ("row 1", "3 of 4 rows"),
    ),
    "an id of 10 KB": (
        HEAD + daily(count=19) + "x" * 10_240 + ",2024-01-20,1\n", {},
        ("row 20", "10,240 characters", "ids.max_length"),
    ),
    "no column y": (GOOD, {"y": "sales"}, ("data.y = 'sales'", "it has 'unique_id'")),
    "no column ds": (GOOD, {"ds": "date"}, ("ds = 'date'", "is not in the table")),
    "no column id": (GOOD, {"id": "shop"}, ("id = 'shop'", "is not in the table")),
    "no such covariate": (GOOD, {**NAMED, "covariates": ["temp"]}, ("covariates.temp",)),
    "another separator": (
        GOOD, {**NAMED, "csv": {"separator": ";"}}, ("it has 'unique_id,ds,y'",),
    ),
    "no such encoding": (GOOD, {"csv": {"encoding": "klingon"}}, ("csv.encoding = 'klingon'",)),
    "not its encoding": (
        GOOD.replace("a,", "\u00fc,").encode("latin-1"), {"csv": {"encoding": "utf-8"}},
        ("is not utf-8: byte 15",),
    ),
    "a short line, refused": (
        GOOD + "a,2024-02-10\n", {"csv": {"malformed": "refuse"}},
        ("header's 3 cells", "'a,2024-02-10'"),
    ),
    "more short lines than good": (
        HEAD + daily(count=5) + "a,2024\n" * 20, {}, ("20 lines", "header's 3 cells"),
    ),
    "a freq that does not fit": (GOOD, {"freq": "MS"}, ("is MS", "1 with D", "'a'")),
    "no such freq": (GOOD, {"freq": "fortnight"}, ("'fortnight' is not a frequency",)),
    "a pattern that is none": (GOOD, {"csv": {"drop_lines": "("}}, ("csv.drop_lines: '('",)),
    "a format that is none": (GOOD, {"stamps": {"formats": ["%Q"]}}, ("stamps.formats: '%Q'",)),
    "random times": (random_times(), {}, ("no regular step", "irregular.policy")),
    "6,000 columns": (
        ",".join(f"c{i}" for i in range(6000)) + "\n" + ",".join("1" * 6000) + "\n",
        {"max_columns": 5000}, ("6,000 columns", "max_columns = 5,000"),
    ),
    "two columns of one name": (
        "unique_id,ds,y,y\n" + daily("{d},{d}"), NAMED, ("2 columns have this name", "3, 4"),
    ),
    "dates before time": (HEAD + daily(ds="0000-01-{d:02d}"), NAMED, ("row 1", "outside 1700")),
    "a 13th month": (HEAD + daily(ds="2024-13-{d:02d}"), NAMED, ("row 1", "'2024-13-01'")),
    "a Parquet without rows": (parquet(TIDY.head(0)), {}, ("has no rows",)),
    "a Parquet of dates for y": (
        parquet(TIDY.assign(y=TIDY["ds"])), NAMED, ("column y", "not numbers"),
    ),
    "a Parquet of fractions for ds": (
        parquet(TIDY.assign(ds=np.arange(20) / 7)), NAMED, ("column ds", "no time stamps"),
    ),
}  # fmt: skip


@pytest.mark.fault("files")
def test_every_bad_file_is_refused_in_one_line_that_names_the_place(
    tmp_path: Path, measure: Measure, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = []
    path = tmp_path / "table"
    for name, (content, settings, said) in FILES.items():
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        given = dict(settings)
        freq = given.pop("freq", None)
        try:
            ingest(DataConfig.parse(given), source=path, freq=freq)
            wrong.append((name, "accepted"))
        except GatecastError as error:
            text = str(error)
            # Nothing but the file itself is said of those that no option could mend.
            if not settings:
                code, line = _ended(path, capsys)
                whole = line.startswith("gatecast: ") and said[0] in line
                if code != BAD_INPUT or not whole:
                    wrong.append((name, f"{code}: {line[:300]}"))
            if not all(part in text for part in said) or "\n" in text or len(text) > 1500:
                wrong.append((name, text[:300]))
    assert wrong == []
    assert len(FILES) >= 40
    commands = sum(not settings for _, settings, _ in FILES.values())
    measure.says(
        f"{len(FILES)} files, each refused in one line with its place; of {commands} that need no "
        f"settings `gatecast ingest` ends with {BAD_INPUT} and that line",
        files=len(FILES),
    )


def _ended(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """The code that `gatecast ingest` ends with, and its last line."""
    capsys.readouterr()
    words = ["gatecast", "ingest", str(path)]
    with (
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "argv", words),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return ended.value.code, capsys.readouterr().err.strip().splitlines()[-1]
