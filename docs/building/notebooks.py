"""Notebooks as pages of the site: what was executed if it was, else the code alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = "docs/notebooks"
EXECUTED = "build/notebooks"
LONGEST = 4000  # characters of an output


def listed(root: Path) -> list[tuple[str, str]]:
    """Titles and pages, in the order of the files' names."""
    found = []
    for file in sorted((root / FOLDER).glob("*.ipynb")):
        found.append((_title(_read(root, file)), f"notebooks/{file.stem}.md"))
    return found


def made(root: Path) -> dict[str, str]:
    """The pages, and the pictures in them, by their place in the site."""
    out: dict[str, str] = {}
    for file in sorted((root / FOLDER).glob("*.ipynb")):
        out[f"notebooks/{file.stem}.md"] = page(_read(root, file), file.name)
    return out


def page(notebook: dict[str, Any], name: str) -> str:
    """A notebook as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        parts += [shown for one in cell.get("outputs", []) if (shown := _output(one))]
    parts.append(f"*`{FOLDER}/{name}` holds this page as a notebook.*")
    return "\n\n".join(parts) + "\n"


def _read(root: Path, file: Path) -> dict[str, Any]:
    executed = root / EXECUTED / file.name
    source = executed if _is_of(executed, file) else file
    return dict(json.loads(source.read_text(encoding="utf-8")))


def _is_of(executed: Path, file: Path) -> bool:
    """Whether it was executed from the code as it stands now."""
    if not executed.is_file():
        return False
    cells = (json.loads(one.read_text(encoding="utf-8"))["cells"] for one in (executed, file))
    old, new = (["".join(cell["source"]) for cell in own] for own in cells)
    return old == new


def _title(notebook: dict[str, Any]) -> str:
    first = "".join(notebook["cells"][0]["source"]).splitlines()[0]
    return first.lstrip("# ")


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![What the cell draws](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if output.get("output_type") == "stream" and output.get("name") == "stdout":
        return _block("".join(output["text"]))
    if "text/plain" in data:
        return _block("".join(data["text/plain"]))
    return ""


def _block(text: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip()[:LONGEST]
    return f"```text\n{plain}\n```" if plain else ""
