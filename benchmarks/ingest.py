"""Speed and memory of ingestion on one core: Parquet to panel, CSV beside pyarrow's own reader.

python benchmarks/ingest.py            every case; about two minutes
python benchmarks/ingest.py --small    a tenth of the rows

Each case runs in a process of its own, so that its peak of memory is its own. Times are the best
of several runs, as seconds of the processor and of the wall clock; they differ where other
programs share the core. Memory is what the process grew by at its widest, over the size of the
table in Arrow (ids as text).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS"), "1"
)
RUNS = 5


def main() -> None:
    """Run all cases, or one of them in a child."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--small", action="store_true", help="a tenth of the rows")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", help="file to write the figures to")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_child(arguments.child[0], json.loads(arguments.child[1]))))
        return
    scale = 10 if arguments.small else 1
    figures = {"machine": machine(), "cases": []}
    print("\n".join(f"{key}: {value}" for key, value in figures["machine"].items()) + "\n")
    print(f"{'case':<44}{'rows':>12}{'CPU s':>8}{'wall s':>8}{'M rows/s':>10}{'memory':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name, case in _cases(folder, scale):
            if arguments.only.lower() not in name.lower():
                continue
            found = {"case": name, **_ask("make", case), **_ask(case["kind"], case)}
            figures["cases"].append(found)
            _show(found)
            Path(case["path"]).unlink()
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, "
    versions += f"pandas {pd.__version__}, pyarrow {pa.__version__}"
    return {"processor": f"{model}, one core of {os.cpu_count()}", "versions": versions}


def _cases(folder: str, scale: int) -> list[tuple[str, dict[str, Any]]]:
    def case(kind: str, series: int, rows: int, form: str = "parquet", **more: Any) -> Any:
        path = str(Path(folder) / f"{kind}-{series}-{rows}.{form}")
        return {"kind": kind, "series": series // scale, "rows": rows, "path": path, **more}

    cases = [
        ("Parquet, 10,000 series x 1,000", case("panel", 10_000, 1000)),
        ("Parquet, 1,000,000 series x 10", case("panel", 1_000_000, 10)),
    ]
    cases += [
        (f"linear: Parquet, {series:,} x 1,000", case("panel", series, 1000))
        for series in (1000, 2000, 5000, 20_000)
    ]
    cases += [
        ("Parquet, 10,000 x 1,000, monthly stamps", case("panel", 10_000, 1000, freq="MS")),
        ("  the same with the report", case("report", 10_000, 1000)),
        ("with defects: Parquet, 2,000 x 1,000", case("messy", 2000, 1000)),
        ("with defects: Parquet, 200,000 x 10", case("messy", 200_000, 10)),
        ("CSV, 2,000 x 1,000", case("csv", 2000, 1000, "csv")),
        ("CSV, 200,000 x 10", case("csv", 200_000, 10, "csv")),
    ]
    return cases


def _ask(what: str, case: dict[str, Any]) -> dict[str, Any]:
    """The answer of a child process."""
    command = [sys.executable, __file__, "--child", what, json.dumps(case)]
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        command, env={**os.environ, **ONE_THREAD, "PYTHONPATH": root}, check=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _show(found: dict[str, Any]) -> None:
    speed = found["table_rows"] / found["cpu"] / 1e6
    memory = f"{found['peak'] / found['arrow']:.2f} x" if found.get("peak") is not None else ""
    line = f"{found['case']:<44}{found['table_rows']:>12,}{found['cpu']:>8.2f}{found['wall']:>8.2f}"
    line += f"{speed:>10.1f}{memory:>9}"
    if "peer" in found:
        line += f"   pyarrow's reader {found['peer']:.2f} s CPU: ours {found['ratio']:.2f} x"
    print(line, flush=True)


def _child(what: str, case: dict[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    return {"make": _make, "panel": _panel, "report": _report, "messy": _panel, "csv": _csv}[what](
        case
    )


def _make(case: dict[str, Any]) -> dict[str, Any]:
    """Write the table of a case: hourly unless said otherwise, with a daily season."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq

    series, rows = case["series"], case["rows"]
    rng = np.random.default_rng(0)
    total = series * rows
    ids = pa.array([f"series_{i:07d}" for i in range(series)])
    codes = pa.array(np.repeat(np.arange(series, dtype=np.int32), rows))
    stamps = pd.date_range("1960-01-01", periods=rows, freq=case.get("freq", "h")).to_numpy()
    ds = np.tile(stamps.astype("datetime64[us]"), series)
    season = 50 + 10 * np.sin(np.arange(rows) * 2 * np.pi / 24)
    y = np.round(np.tile(season, series) + rng.normal(0, 3, total), 2)
    table = pa.table({"unique_id": ids.take(codes), "ds": pa.array(ds), "y": y})
    if case["kind"] == "messy":
        table = _spoiled(table, rng)
    if case["kind"] == "csv":
        pacsv.write_csv(table, case["path"])
    else:
        pq.write_table(table, case["path"])
    return {"table_rows": table.num_rows, "arrow": table.nbytes}


def _spoiled(table: Any, rng: Any) -> Any:
    """One row in a hundred absent, one twice, one a sentinel, one out of order."""
    import numpy as np
    import pyarrow as pa

    total = table.num_rows
    share = total // 100
    y = table.column("y").to_numpy().copy()
    y[rng.integers(0, total, share)] = -999.0
    table = table.set_column(2, "y", pa.array(y))
    index = np.delete(np.arange(total), rng.choice(total, share, replace=False))
    index = np.sort(np.concatenate([index, rng.choice(index, share)]))
    at = rng.integers(1, len(index), share)
    index[at], index[at - 1] = index[at - 1].copy(), index[at].copy()
    return table.take(pa.array(index))


def _timed(work: Callable[[], Any], runs: int = RUNS) -> dict[str, Any]:
    cpu, wall = [], []
    for _ in range(runs):
        begin, clock = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - begin)
        wall.append(time.perf_counter() - clock)
    return {"cpu": min(cpu), "wall": min(wall)}


def _panel(case: dict[str, Any]) -> dict[str, Any]:
    from pipelines.ingestion import DataConfig, ingest

    _warm_up()
    config = DataConfig(source=case["path"])
    with _peak() as peak:
        panel = ingest(config).panel()
    assert len(panel) == case["series"]
    del panel
    return {**_timed(lambda: ingest(config).panel()), "peak": peak()}


def _report(case: dict[str, Any]) -> dict[str, Any]:
    from pipelines.ingestion import DataConfig, ingest

    config = DataConfig(source=case["path"])

    def work() -> None:
        result = ingest(config)
        result.panel()
        assert result.report.summary

    return _timed(work, 3)


def _csv(case: dict[str, Any]) -> dict[str, Any]:
    import pyarrow.csv as pacsv

    from pipelines.ingestion import DataConfig, ingest

    _warm_up()
    config = DataConfig(source=case["path"])
    reading = pacsv.ReadOptions(use_threads=False)
    with _peak() as peak:
        ingest(config).panel()
    ours, peer = [], []
    # In turns, so that what else runs on the machine disturbs both alike.
    for _ in range(2 * RUNS):
        peer.append(_timed(lambda: pacsv.read_csv(case["path"], reading), 1)["cpu"])
        ours.append(_timed(lambda: ingest(config).panel(), 1))
    best = {key: min(o[key] for o in ours) for key in ("cpu", "wall")}
    return {**best, "peer": min(peer), "ratio": best["cpu"] / min(peer), "peak": peak()}


def _warm_up() -> None:
    """Load what is loaded once, outside of what is measured."""
    import numpy as np
    import pyarrow as pa

    from pipelines.ingestion import DataConfig, ingest

    ds = np.arange("2024-01-01", "2024-02-01", dtype="datetime64[D]").astype("datetime64[us]")
    table = pa.table({"unique_id": ["a"] * len(ds), "ds": ds, "y": np.arange(len(ds)) * 1.0})
    ingest(DataConfig(), source=table).panel()
    ingest(DataConfig(), source=table.slice(1).to_pandas()[::-1]).panel()


@contextlib.contextmanager
def _peak() -> Any:
    """Bytes the process grew by at its widest."""
    status = Path("/proc/self/status")
    if not status.exists():
        yield lambda: None
        return

    def read(name: str) -> int:
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith(name))

    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before, widest = read("VmRSS"), 0

    def found() -> int:
        return widest

    yield found
    widest = read("VmHWM") - before


if __name__ == "__main__":
    main()
