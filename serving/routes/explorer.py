"""The explorer: a page at ``/`` that asks this service for forecasts and draws them.

Its files lie in ``serving/web/explorer``. They hold nothing of models or series, so they need no
key; what the page asks does, where the service is protected.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from serving.errors import RequestError, show
from serving.routes.openapi import to_docs
from serving.routes.route import Call, Reply, Route

HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
PAGE: Final = "index.html"
SCRIPT: Final = "app.js"
LIBRARY: Final = "uplot.min.js"
# Comments and indentation are for those who read the source: a tenth of all that would be sent.
REMARKS: Final = re.compile(r"^ *(?:/\*\*.*?\*/|//[^\n]*)\n", re.DOTALL | re.MULTILINE)
INDENTATION: Final = re.compile(r"^ +", re.MULTILINE)
IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)
EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:function|const|let|class)\b)", re.MULTILINE)
# Own files only, nothing written into the page, nothing sent elsewhere, no frame around it.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True)
class File:
    """A file as it is sent; ``tag`` is what a browser asks by whether it has changed."""

    content: bytes
    packed: bytes
    kind: str
    tag: str


@cache
def page_files() -> Mapping[str, File]:
    """The explorer's files by name; ``app.js`` is all modules as one, which packs better than each.

    The other modules are there by themselves as well, for who reads or measures them.
    """
    contents: dict[str, tuple[bytes, str]] = {}
    modules = {}
    for entry in files("serving").joinpath("web/explorer").iterdir():
        kind = KINDS.get(entry.name.rpartition(".")[2])
        if kind is not None:
            content = entry.read_bytes()
            if kind == KINDS["js"] and entry.name != LIBRARY:
                modules[entry.name] = without_remarks(content.decode())
                content = modules[entry.name].encode()
            contents[entry.name] = content, kind
    contents[SCRIPT] = joined(modules).encode(), KINDS["js"]
    return {name: _file(*one) for name, one in contents.items()}


def _file(content: bytes, kind: str) -> File:
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    return File(content, gzip.compress(content, 9, mtime=0), kind, tag)


def joined(modules: Mapping[str, str]) -> str:
    """The modules as one, each after those that it imports.

    No two may have the same name at their top level, nor import one under another, nor each other.
    """
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        for needed in IMPORT.findall(modules[name]):
            if needed not in parts:
                add(needed)
        parts[name] = EXPORT.sub("", IMPORT.sub("", modules[name]))

    add(SCRIPT)
    return "".join(parts.values())


def without_remarks(source: str) -> str:
    """A module without its lines of comments and its indentation.

    No text of the module may go on over a line that begins like one of those.
    """
    return INDENTATION.sub("", REMARKS.sub("", source))


async def show_root(call: Call) -> Reply:
    """The explorer for a browser; others are sent to the page of the API, as ever."""
    accepted = (part.split(";")[0].strip() for part in call.headers.get("accept", "").split(","))
    if HTML.isdisjoint(kind.lower() for kind in accepted):
        reply = await to_docs(call)
        return Reply(reply.content, reply.kind, reply.status, {**reply.headers, "vary": "accept"})
    return _sent(call, PAGE)


async def show_file(call: Call) -> Reply:
    """A file of the page."""
    return _sent(call, call.arguments["name"])


def _sent(call: Call, name: str) -> Reply:
    if not call.service.settings.explorer:
        raise RequestError(
            404,
            "unknown_path",
            "the explorer is switched off here (GATECAST_EXPLORER=false); "
            "/docs shows what can be asked",
        )
    file = page_files().get(name)
    if file is None:
        raise RequestError(404, "unknown_path", f"the explorer has no file {show(name)}")
    headers = {
        "etag": file.tag,
        "cache-control": "no-cache",
        "vary": "accept, accept-encoding",
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
    tags = (tag.strip() for tag in call.headers.get("if-none-match", "").split(","))
    if file.tag in tags:
        return Reply(b"", file.kind, 304, headers)
    if _takes_gzip(call.headers.get("accept-encoding", "")):
        return Reply(file.packed, file.kind, headers={**headers, "content-encoding": "gzip"})
    return Reply(file.content, file.kind, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        name, _, weight = (text.strip() for text in part.partition(";"))
        if name == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


ROUTES = (
    Route("GET", "/", show_root),
    Route("GET", "/explorer/{name}", show_file),
)
