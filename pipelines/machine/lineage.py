"""What a run was made with: commit, versions, machine."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess


def git_commit() -> str | None:
    """Commit of the working directory, ``-dirty`` appended when files differ; None outside git."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() or None if run.returncode == 0 else None


def versions() -> str:
    """Of what decides the weights: Gatecast, torch, NumPy and Python."""
    from importlib.metadata import PackageNotFoundError, version

    parts = [f"python {platform.python_version()}"]
    for name in ("gatecast", "torch", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            parts.append(f"{name} {version(name)}")
    return ", ".join(parts)


def hardware() -> str:
    """One line on the machine: processor architecture, cores, accelerator if torch sees one."""
    import sys

    text = f"{platform.machine()}, {os.cpu_count()} cores"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    return text
