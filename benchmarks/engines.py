"""Engines for the network on a CPU: speed by batch, memory, time to load, and the same numbers.

python benchmarks/engines.py --bundle FOLDER [--threads 1] [--report docs/serving.md]

Each engine runs in a process of its own and gets the same batches. ``difference`` is the largest
one from eager PyTorch, relative to the largest value.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

BATCHES = (1, 32, 1024)
SECONDS = 1.5
BEGIN, END = "<!-- benchmarks/engines.py: begin -->", "<!-- benchmarks/engines.py: end -->"
Run = Callable[[Mapping[str, np.ndarray]], Any]


def memory() -> float:
    """Resident megabytes of this process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


def batches(bundle: Path) -> dict[int, dict[str, np.ndarray]]:
    """What the network reads, by number of series."""
    from forecasting.prediction.example import example_panel
    from forecasting.prediction.predictor import Predictor
    from forecasting.windows.prediction import assemble

    predictor = Predictor.load(bundle)
    steps = int(predictor.geometry.steps_for(np.array([predictor.context]))[0])
    rng = np.random.default_rng(0)
    found = {}
    for count in BATCHES:
        batch, _, _ = assemble(example_panel(predictor, count), predictor.config, steps)
        batch["y"] = (batch["y"] + rng.normal(0, 0.1, batch["y"].shape)).astype(np.float32)
        found[count] = batch
    return found


def onnx(bundle: Path, threads: int, quantised: bool = False) -> Run:
    import onnxruntime as ort

    path = bundle / "model.onnx"
    if quantised:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        small = Path(tempfile.mkdtemp()) / "int8.onnx"
        quantize_dynamic(path, small, weight_type=QuantType.QInt8)
        path = small
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return lambda batch: session.run(None, {name: batch[name] for name in names})


def torch_engine(bundle: Path, threads: int, kind: str, first: Mapping[str, np.ndarray]) -> Run:
    import torch

    from forecasting.forecaster import Forecaster
    from forecasting.saving.onnx import Members

    torch.set_num_threads(threads)
    networks = Forecaster.load(bundle).networks
    names = [n for n in first if n not in ("centre", "unit")]
    module: Any = Members(networks, names).eval()
    example = tuple(torch.from_numpy(np.ascontiguousarray(first[n])) for n in names)
    if kind == "script":
        module = torch.jit.freeze(torch.jit.trace(module, example))
    elif kind == "compile":
        module = torch.compile(module, dynamic=True)
    elif kind in ("export", "aot"):
        free = torch.export.Dim("batch", min=1, max=4096)
        shapes = (tuple({0: free} for _ in names),)
        program = torch.export.export(module, example, dynamic_shapes=shapes)
        if kind == "aot":
            package = torch._inductor.aoti_compile_and_package(program)
            module = torch._inductor.aoti_load_package(package)
        else:
            module = program.module()

    def run(batch: Mapping[str, np.ndarray]) -> Any:
        with torch.inference_mode():
            return module(*(torch.from_numpy(np.ascontiguousarray(batch[n])) for n in names))

    return run


ENGINES: dict[str, Callable[[Path, int, Mapping[str, np.ndarray]], Run]] = {
    "PyTorch eager": lambda b, t, x: torch_engine(b, t, "eager", x),
    "TorchScript": lambda b, t, x: torch_engine(b, t, "script", x),
    "torch.export": lambda b, t, x: torch_engine(b, t, "export", x),
    "torch.compile": lambda b, t, x: torch_engine(b, t, "compile", x),
    "AOTInductor": lambda b, t, x: torch_engine(b, t, "aot", x),
    "ONNX Runtime": lambda b, t, x: onnx(b, t),
    "ONNX Runtime, int8": lambda b, t, x: onnx(b, t, quantised=True),
}


def measure(
    name: str, bundle: Path, threads: int, outputs: Path, seconds: float
) -> dict[str, float]:
    """Figures of one engine, in this process; what it computes goes to a file."""
    given = batches(bundle)
    empty = memory()
    began = time.perf_counter()
    # Compilers specialise on a batch of one: they see the middle one.
    run = ENGINES[name](bundle, threads, given[32])
    run(given[32])
    found = {"load": time.perf_counter() - began}
    kept = {}
    for count, batch in given.items():
        kept[str(count)] = np.asarray(run(batch)[0])
        times = []
        end = time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            before = time.perf_counter()
            run(batch)
            times.append(time.perf_counter() - before)
        found[str(count)] = 1e3 * statistics.median(times)
    found["memory"] = memory() - empty
    np.savez(outputs, **kept)
    return found


def compare(bundle: Path, threads: int, seconds: float, only: str) -> str:
    """The table, in Markdown."""
    columns = " | ".join(f"ms at batch {n}" for n in BATCHES)
    lines = [
        f"| engine | {columns} | load, s | memory, MB | difference |",
        "|---|" + "---|" * (len(BATCHES) + 3),
    ]
    expected: dict[str, np.ndarray] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as scratch:
        for name in (name for name in ENGINES if re.search(only, name)):
            outputs = Path(scratch) / "outputs.npz"
            words = ["--one", name, "--bundle", str(bundle), "--threads", str(threads)]
            words += ["--outputs", str(outputs), "--seconds", str(seconds)]
            done = subprocess.run(
                [sys.executable, __file__, *words],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["stopped"])[-1]
                lines.append(f"| {name} | {'– | ' * (len(BATCHES) + 2)}{reason[:80]} |")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            with np.load(outputs) as kept:
                answers = dict(kept)
            expected = expected or answers
            apart = max(
                float(np.abs(answers[n] - expected[n]).max() / np.abs(expected[n]).max())
                for n in answers
            )
            times = " | ".join(f"{found[str(n)]:.2f}" for n in BATCHES)
            rest = f"{found['load']:.2f} | {found['memory']:.0f} | {apart:.0e}"
            lines.append(f"| {name} | {times} | {rest} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare engines for the network on a CPU.")
    parser.add_argument("--bundle", type=Path, help="a saved forecaster instead of the demo's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of measuring each batch")
    parser.add_argument("--only", default="", help="a pattern: only engines it is found in")
    parser.add_argument("--report", type=Path, help="page whose marked part is rewritten")
    parser.add_argument("--one", choices=list(ENGINES), help=argparse.SUPPRESS)
    parser.add_argument("--outputs", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(
            json.dumps(
                measure(given.one, given.bundle, given.threads, given.outputs, given.seconds)
            )
        )
        return
    from benchmarks.servers import train
    from benchmarks.serving import insert, machine

    with tempfile.TemporaryDirectory() as scratch:
        bundle = given.bundle or train(Path(scratch) / "bundle", brief=given.seconds == 0.0)
        text = compare(bundle, given.threads, given.seconds, given.only)
    text += f"\n\n{machine()}, {given.threads} thread(s)."
    print(text)
    if given.report:
        insert(given.report, text, BEGIN, END)


if __name__ == "__main__":
    main()
