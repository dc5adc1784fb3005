"""Fetch artifacts with MLflow, in a process of its own that ends.

``python -m serving.models.download URI FOLDER``
"""

from __future__ import annotations

import sys


def main() -> None:
    """Copy the artifacts at a URI into a folder."""
    from mlflow.artifacts import download_artifacts

    uri, folder = sys.argv[1:]
    got = download_artifacts(artifact_uri=uri, dst_path=folder)
    _lift(got, folder)


def _lift(got: str, folder: str) -> None:
    """MLflow puts the files into a folder of their own name: bring them up."""
    from pathlib import Path

    inner, outer = Path(got).resolve(), Path(folder).resolve()
    if inner == outer:
        return
    for path in list(inner.iterdir()):
        path.rename(outer / path.name)
    while inner != outer:
        inner.rmdir()
        inner = inner.parent


if __name__ == "__main__":
    main()
