"""What MkDocs asks while it builds the site: generated pages, notebooks, links out of docs/.

Pages of docs/ link to files of the repository as they lie; those become pages of the site, too.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs.building import notebooks, pages  # noqa: E402

LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
SOURCE = "source"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}
# What is shown of the sources is found from the pages that link to it, not by searching.
UNFOUND = "---\nsearch:\n  exclude: true\n---\n\n"
LONGEST = 200_000  # characters of a file that is shown
# The theme would fetch this from elsewhere, for search on pages read from the disk.
FETCHED = re.compile(r'<script src="https://unpkg\.com/iframe-worker/shim"></script>')
WORKER = "assets/worker.js"


def on_config(config: Any) -> Any:
    """Put the notebooks that there are into the navigation."""
    for entry in config["nav"]:
        if isinstance(entry, dict) and "Notebooks" in entry:
            entry["Notebooks"] = [{title: page} for title, page in notebooks.listed(ROOT)]
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are made, and the files of the repository that pages link to."""
    worker = Path(__file__).with_name("worker.js").read_text(encoding="utf-8")
    made = {**pages.made(), **notebooks.made(ROOT), WORKER: worker}
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    texts = {
        file.src_uri: made.get(file.src_uri) or Path(str(file.abs_src_path)).read_text("utf-8")
        for file in files.documentation_pages()
    }
    wanted: set[str] = set()
    todo = [(uri, str(text)) for uri, text in texts.items()]
    while todo:
        uri, text = todo.pop()
        for path in outside(uri, text) - wanted:
            wanted.add(path)
            page = _page(path)
            content = _shown(path)
            files.append(File.generated(config, page, content=UNFOUND + content))
            if path.endswith(".md"):
                todo.append((page, content))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Links to files of the repository lead to their pages."""
    return rewritten(page.file.src_uri, markdown)


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """A page fetches nothing from elsewhere."""
    path = posixpath.relpath(WORKER, posixpath.dirname(page.file.dest_uri) or ".")
    return FETCHED.sub(f'<script src="{path}"></script>', output)


def on_post_template(output: str, *, template_name: str, config: Any) -> str:
    """Neither do the pages that are no documents, such as the one of what is not found."""
    return FETCHED.sub("", output)


def outside(uri: str, text: str) -> set[str]:
    """Files and folders of the repository, not of docs/, that a page links to."""
    found = set()
    for _, path, _, _ in LINK.findall(_without_code(text)):
        target = _target(uri, path)
        if target is not None:
            found.add(target)
    return found


def rewritten(uri: str, text: str) -> str:
    """A page's text with its links out of docs/ turned to pages of the site."""

    def turn(match: re.Match[str]) -> str:
        target = _target(uri, match[2])
        if target is None:
            return match[0]
        if target == "README.md":
            page = "index.md"
        elif target.startswith("docs/") and not target.endswith(".py"):
            page = target.removeprefix("docs/")
        else:
            page = _page(target)
        path = posixpath.relpath(page, posixpath.dirname(uri) or ".")
        return f"{match[1]}{path}{match[3] or ''}{match[4]}"

    parts = re.split(r"(^```.*?^```)", text, flags=re.M | re.S)
    return "".join(p if p.startswith("```") else LINK.sub(turn, p) for p in parts)


def _target(uri: str, path: str) -> str | None:
    """The place in the repository that a link of a page means, where it lies outside docs/."""
    if re.match(r"[a-z]+:|/", path):
        return None
    if uri.startswith(f"{SOURCE}/"):  # a file of the repository, shown
        own = posixpath.dirname(uri.removeprefix(f"{SOURCE}/"))
    else:
        own = posixpath.join("docs", posixpath.dirname(uri))
    place = posixpath.normpath(posixpath.join(own, path))
    if place.startswith("..") or not (ROOT / place).exists():
        return None
    if place.startswith("docs/") and not place.endswith(".py"):
        return place if uri.startswith(f"{SOURCE}/") else None
    return place


def _page(path: str) -> str:
    """The page of the site that shows a file or folder of the repository."""
    return f"{SOURCE}/{path}" if path.endswith(".md") else f"{SOURCE}/{path.rstrip('/')}.md"


def _shown(path: str) -> str:
    """A file or folder of the repository as a page."""
    place = ROOT / path
    if place.is_dir():
        names = sorted(one.name + "/" * one.is_dir() for one in place.iterdir())
        shown = [f"- `{name}`" for name in names if not name.startswith((".", "__"))]
        return "\n".join([f"# `{path}`", "", *shown, ""])
    if place.suffix == ".md":
        return place.read_text(encoding="utf-8")
    try:
        text = place.read_text(encoding="utf-8")[:LONGEST]
    except UnicodeDecodeError:
        return f"# `{path}`\n\nNo text.\n"
    fence = "````"
    return f"# `{path}`\n\n{fence}{LANGUAGES.get(place.suffix, 'text')}\n{text}\n{fence}\n"


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
