"""Executes docs/notebooks into build/notebooks, each in a folder of its own.

python -m docs.building.execute [NAME…]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from docs.building.notebooks import EXECUTED, FOLDER

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300  # that a cell may take


def execute(file: Path, target: Path) -> float:
    """Run a notebook from an empty folder and write it with what came out; the seconds it took.

    Raises
    ------
    nbclient.exceptions.CellExecutionError : a cell failed; the traceback names it.
    """
    notebook = nbformat.read(file, as_version=4)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # Through files, so that nobody else on the machine can talk to the kernel.
        kernel = AsyncKernelManager(
            kernel_name="python3", transport="ipc", ip=str(Path(folder) / "kernel")
        )
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, km=kernel, timeout=SECONDS, resources=resources)
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        client.execute(env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return time.monotonic() - began


def main(names: list[str]) -> None:
    """Execute all notebooks, or those that are named."""
    for file in sorted((ROOT / FOLDER).glob("*.ipynb")):
        if not names or file.stem in names:
            seconds = execute(file, ROOT / EXECUTED / file.name)
            print(f"{EXECUTED}/{file.name}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
