"""The explorer in headless Chromium: its bytes, charts beside a plain line, first forecasts.

python benchmarks/explorer.py --report docs/explorer.md
python benchmarks/explorer.py --brief

A chart is timed from its data to its pixels, which reading one of them back forces. The rival is a
canvas of the same size on which every point is joined to the next. A first forecast is timed inside
the page, from the file's being chosen to the answer's being drawn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.servers import MODEL, register, servers, train  # noqa: E402
from benchmarks.serving import insert, machine  # noqa: E402
from serving.routes.explorer import page_files  # noqa: E402
from serving.settings import quiet  # noqa: E402
from tests.browser import Page, chromium, executable  # noqa: E402

BEGIN, END = "<!-- benchmarks/explorer.py: begin -->", "<!-- benchmarks/explorer.py: end -->"
POINTS = (2_000, 200_000)
CHART = """async ([count, turns]) => {
  const { Chart } = await import(new URL("explorer/chart.js", document.baseURI));
  const x = Array.from({ length: count }, (_, i) => i);
  const y = x.map((i) => 100 + 10 * Math.sin(i / 50) + ((i * 7919) % 13));
  const place = document.createElement("div");
  document.getElementById("charts").append(place);
  const style = getComputedStyle(document.documentElement);
  const line = { colour: "--ink", width: 1.5, values: y };
  const drawing = { x, time: false, lines: [line], bands: [], cut: x[count - 10], window: null };
  const ours = [], plain = [];
  for (let turn = 0; turn < turns; turn++) {
    let began = performance.now();
    const chart = new Chart(place, drawing, () => {});
    await Promise.resolve();
    const canvas = chart.plot.ctx.canvas;
    chart.plot.ctx.getImageData(canvas.width / 2, canvas.height / 2, 1, 1);
    ours.push(performance.now() - began);
    began = performance.now();
    const other = document.createElement("canvas");
    [other.width, other.height] = [canvas.width, canvas.height];
    const ctx = other.getContext("2d");
    ctx.strokeStyle = style.getPropertyValue("--ink");
    ctx.beginPath();
    for (let i = 0; i < count; i++) {
      ctx.lineTo((i / count) * other.width, other.height * (1 - (y[i] - 85) / 45));
    }
    ctx.stroke();
    ctx.getImageData(other.width / 2, other.height / 2, 1, 1);
    plain.push(performance.now() - began);
    chart.close();
  }
  place.remove();
  return [ours, plain];
}"""
# What the page has asked for so far, by the last part of its address.
LOADED = "performance.getEntriesByType('resource').map((one) => one.name.split('/').pop())"
DROP = """async ([rows, turn]) => {
  const lines = Array.from({ length: rows }, (_, i) => `${i + 1},${100 + ((i * 7919) % 130) / 10}`);
  const name = `rows-${rows}-${turn}.csv`;
  const file = new File([`step,y\\n${lines.join("\\n")}\\n`], name);
  const input = document.getElementById("file"), given = new DataTransfer();
  const drawn = new Promise((done) => {
    const watch = new MutationObserver(() => {
      if (!document.getElementById("source").innerText.startsWith(name)) return;
      if (!/ ms\\.$/.test(document.getElementById("status").innerText)) return;
      watch.disconnect();
      done();
    });
    watch.observe(document.getElementById("status"), { childList: true });
  });
  given.items.add(file);
  input.files = given.files;
  const began = performance.now();
  input.dispatchEvent(new Event("change"));
  await drawn;
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


def call(page: Page, function: str, given: list[int]) -> Any:
    """What an asynchronous function of the page gives."""
    return page.run(f"({function})({given})")


def measure(page: Page, points: tuple[int, ...], turns: int) -> list[str]:
    """Rows of the report, medians of ``turns``."""
    files = page_files()
    library = len(files["uplot.min.js"].packed)
    asked = set(page.run(LOADED)) | {"index.html"}
    whole = sum(len(file.packed) for name, file in files.items() if name in asked)
    rows = [f"| all that is loaded, gzipped | {whole:,} bytes, of which uPlot {library:,} |  |"]
    for count in points:
        ours, plain = map(statistics.median, call(page, CHART, [count, turns]))
        rows.append(
            f"| a chart of {count:,} points, drawn | {ours:.1f} ms | "
            f"a plain line: {plain:.1f} ms, ratio {ours / plain:.2f} |"
        )
    for count in points:
        spent = statistics.median(call(page, DROP, [count, turn]) for turn in range(turns))
        rows.append(f"| from a file of {count:,} rows to its forecast, drawn | {spent:.0f} ms |  |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the explorer in headless Chromium.")
    parser.add_argument("--turns", type=int, default=9, help="times everything is measured [9]")
    parser.add_argument("--report", type=Path, help="page whose marked part is rewritten")
    parser.add_argument("--brief", action="store_true", help="small tables, once")
    given = parser.parse_args()
    if executable() is None:
        raise SystemExit("no Chromium on this machine")
    points, turns = ((200,), 1) if given.brief else (POINTS, given.turns)
    quiet()
    with tempfile.TemporaryDirectory(prefix="gatecast-") as scratch:
        home = Path(scratch)
        os.environ["GATECAST_HOME"] = scratch
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        registered = register(train(home / "bundle"), home)
        server = servers(home, registered, home / "answer")["gatecast"]
        server.start()
        try:
            server.wait()
            with chromium(1280, 900) as page:
                page.open(f"http://127.0.0.1:{server.port}/")
                page.wait(f"{MODEL}, version 1")
                rows = measure(page, points, turns)
        finally:
            server.stop()
    head = "| what | measured | beside |\n|---|---|---|\n"
    text = head + "\n".join(rows) + f"\n\nMedians of {turns}; {machine()}, no GPU, Chromium."
    print(text)
    if given.report:
        insert(given.report, text, BEGIN, END)


if __name__ == "__main__":
    main()
