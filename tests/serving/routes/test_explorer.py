"""The explorer's files as they are sent, to whom, and how large they are."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

import pytest

from serving.app import Application
from serving.routes.explorer import without_remarks
from serving.settings import ServingSettings
from tests.serving.conftest import Caller
from tests.serving.javascript import FOLDER

# npm: uplot 1.6.32, dist/uPlot.iife.min.js.
UPLOT = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
MOST_BYTES = 60_000
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def other(app: Application, settings: ServingSettings) -> Any:
    """Calls an application with other settings, and the same models."""

    def make(**changes: Any) -> Caller:
        application = Application(settings.model_copy(update=changes))
        application.service.models = app.service.models
        return Caller(application)

    return make


def test_a_browser_is_given_the_page_and_others_the_way_to_the_interface(call: Caller) -> None:
    page = call("GET", "/", headers=HTML)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>Gatecast explorer</title>" in page.text
    for headers in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        answer = call("GET", "/", headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
        assert "accept" in answer.headers["vary"]
    assert call("HEAD", "/", headers=HTML).content == b""


def test_nothing_may_be_loaded_or_sent_but_the_services_own(call: Caller) -> None:
    policy = call("GET", "/", headers=HTML).headers["content-security-policy"]
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert "unsafe" not in policy
    assert {rules[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert rules["frame-ancestors"] == rules["form-action"] == rules["base-uri"] == "'none'"
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)
    own = [f for f in FOLDER.iterdir() if f.name != "uplot.min.js"]
    for file in own:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?://|//cdn|@import|innerHTML|localStorage|document.cookie", text
        )


def test_every_file_that_the_page_names_is_sent_with_its_kind(call: Caller) -> None:
    page = (FOLDER / "index.html").read_text()
    named = set(re.findall(r'(?:src|href)="explorer/([^"]+)"', page))
    modules = {file.name for file in FOLDER.glob("*.js")} - {"uplot.min.js"}
    assert named | {"index.html"} | modules == {file.name for file in FOLDER.iterdir()}
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    for name in named:
        answer = call("GET", f"/explorer/{name}")
        source = (FOLDER / name).read_text()
        if name not in modules:
            assert answer.text == source
        assert answer.headers["content-type"].startswith(kinds[name.split(".")[-1]])
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_script_is_every_module_once_after_those_it_needs(call: Caller) -> None:
    script, places, names = call("GET", "/explorer/app.js").text, {}, []
    needs = {}
    for file in FOLDER.glob("*.js"):
        if file.name == "uplot.min.js":
            continue
        source = _without_remarks(file.read_text())
        needs[file.stem] = re.findall(r'from "\./(\w+)\.js"', source)
        imports = re.findall(r"^import .*", source, re.M)
        assert not any(" as " in line or "*" in line for line in imports)
        own = re.sub(r"^export ", "", re.sub(r"^import .*\n", "", source, flags=re.M), flags=re.M)
        assert script.count(own) == 1, file.name
        places[file.stem] = script.index(own)
        names += _top_level(file.read_text())
    assert not re.search(r"^(import|export)\b", script, re.M)
    assert len(needs["app"]) > 4
    for name, needed in needs.items():
        assert all(places[other] < places[name] for other in needed), name
    assert len(names) > 100
    assert [name for name, times in Counter(names).items() if times > 1] == []


def _top_level(source: str) -> list[str]:
    """The names that the lines at a module's left edge declare."""
    names = []
    declared = re.compile(r"^(?:export )?(?:async )?(function\*?|class|const|let) (.*)$", re.M)
    for kind, rest in declared.findall(source):
        if kind in ("const", "let"):
            # Of several in a line those after a comma at depth nought.
            depth, flat = 0, ""
            for letter in rest:
                depth += (letter in "([{") - (letter in ")]}")
                flat += letter if depth == 0 else ""
            names += re.findall(r"(?:^|, )([\w$]+)(?= =|,|;|$)", flat)
        else:
            names += re.findall(r"^[\w$]+", rest)
    return names


def _without_remarks(source: str) -> str:
    """Line by line, as a person would leave comments out."""
    kept, inside = [], False
    for line in source.splitlines(keepends=True):
        text = line.strip()
        if inside or text.startswith("/**"):
            inside = not text.endswith("*/")
        elif not text.startswith("//"):
            kept.append(line.lstrip(" "))
    return "".join(kept)


def test_no_text_of_a_module_goes_on_over_a_line() -> None:
    for file in FOLDER.glob("*.js"):
        if file.name != "uplot.min.js":
            for line in without_remarks(file.read_text()).splitlines():
                assert line.count("`") % 2 == 0, (file.name, line)


@pytest.mark.parametrize("name", ["nothing.js", "..%2fdocs.html", "%2e%2e", "index.html.bak", ""])
def test_no_other_file_is_sent(call: Caller, name: str) -> None:
    answer = call("GET", f"/explorer/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown_path"


def test_a_file_is_sent_again_only_when_it_has_changed(call: Caller) -> None:
    first = call("GET", "/explorer/app.js")
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    for known in (tag, f'"other", {tag}'):
        again = call("GET", "/explorer/app.js", headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in again.headers
    changed = call("GET", "/explorer/app.js", headers={"if-none-match": '"other"'})
    assert changed.content == first.content


def test_a_file_is_packed_for_those_who_take_that(call: Caller) -> None:
    plain = call("GET", "/explorer/app.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip", "br, GZIP;q=0.5"):
        packed = call("GET", "/explorer/app.js", headers={"accept-encoding": accepted})
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < len(plain.content) / 2
        assert packed.content == plain.content
    refused = call("GET", "/explorer/app.js", headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


def test_all_of_it_is_small(call: Caller) -> None:
    sizes = {}
    page = (FOLDER / "index.html").read_text()
    for name in ("index.html", *re.findall(r'(?:src|href)="explorer/([^"]+)"', page)):
        answer = call("GET", f"/explorer/{name}", headers={"accept-encoding": "gzip"})
        sizes[name] = int(answer.headers["content-length"])
    assert sum(sizes.values()) <= MOST_BYTES, sizes


def test_the_chart_library_is_the_published_one_with_its_licence() -> None:
    library = (FOLDER / "uplot.min.js").read_bytes()
    assert hashlib.sha256(library).hexdigest() == UPLOT
    assert b"(v1.6.32)" in library[:100]
    licence = (FOLDER.parent / "uplot.LICENSE.txt").read_text()
    assert licence.startswith("The MIT License (MIT)")
    assert "Leon Sorokin" in licence


def test_it_can_be_switched_off(other: Any) -> None:
    assert ServingSettings.read({"GATECAST_EXPLORER": "false"}).explorer is False
    call = other(explorer=False)
    page = call("GET", "/", headers=HTML)
    assert page.status_code == 404
    assert "GATECAST_EXPLORER" in page.json()["detail"]
    assert call("GET", "/explorer/app.js").status_code == 404
    assert call("GET", "/").headers["location"] == "/docs"
    assert call("GET", "/docs").status_code == 200


def test_the_page_needs_no_key_and_says_nothing_that_needs_one(other: Any) -> None:
    call = other(protect=True)
    page = call("GET", "/", headers=HTML)
    assert page.status_code == 200
    assert call("GET", "/explorer/app.js").status_code == 200
    assert call("GET", "/v1/models").status_code == 401
    assert "monthly" not in page.text
