"""docs/architecture.md shows the tree as it is: its drawing, its rooms, the places it names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs import draw_house
from tests.house import PACKAGES

PATH = re.compile(r"`((?:forecasting|pipelines|serving|tests|docs|configs)/[\w./-]*)`")


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_drawing_is_what_the_imports_make() -> None:
    drawn = draw_house.PICTURE.read_text(encoding="utf-8")
    assert drawn == draw_house.draw(), "run `python -m docs.draw_house`"


def test_every_arrow_leads_down_and_every_room_is_drawn(root: Path) -> None:
    pairs = draw_house.imports(root)
    for package, floors in draw_house.floors(root).items():
        level = {room: k for k, rooms in enumerate(floors) for room in rooms}
        folder = root / package.replace(".", "/")
        rooms = {f.stem for f in folder.glob("*.py")} | {
            f.parent.name for f in folder.glob("*/*.py")
        }
        assert level.keys() == rooms - {"__init__"}
        edges = draw_house.between_rooms(pairs, package)
        assert edges
        assert [(a, b) for a, b in edges if level[a] >= level[b]] == []


def test_only_arrows_that_longer_ways_say_are_left_out() -> None:
    pairs = [
        ("serving.a", "serving.b"),
        ("serving.b", "serving.b.x"),
        ("serving.b.x", "serving.c"),
        ("serving.a", "serving.c.y"),  # said by a, b, c
        ("serving.d", "serving.c"),
        ("serving.c", "forecasting.e"),
    ]
    assert draw_house.between_rooms(pairs, "serving") == [("a", "b"), ("b", "c"), ("d", "c")]


def test_the_drawing_changes_with_an_import(root: Path, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(root / package, tmp_path / package)
    shutil.copy(root / "pyproject.toml", tmp_path)
    before = (root / draw_house.PICTURE).read_text(encoding="utf-8")
    with (tmp_path / "forecasting" / "plotting.py").open("a") as file:
        file.write("\ndef f():\n    import forecasting.errors\n")
    with (tmp_path / "serving" / "settings.py").open("a") as file:
        file.write("\nfrom serving import errors\n")
    after = draw_house.draw(tmp_path)
    assert after != before
    ElementTree.fromstring(after)


def test_the_page_tells_of_every_room(page: str, root: Path) -> None:
    for package, floors in draw_house.floors(root).items():
        (told,) = re.findall(
            rf"^### `{package.replace('.', '/')}/`.*?\n(.*?)(?=^#)", page, re.M | re.S
        )
        rooms = re.findall(r"`(\w+)(?:\.py|/)`", "".join(re.findall(r"^\| (.*?) \|", told, re.M)))
        assert rooms == [room for floor in floors for room in floor]


def test_the_places_that_the_page_names_are_there(page: str, root: Path) -> None:
    places = PATH.findall(page)
    assert len(places) > 20
    assert [place for place in places if not (root / place).exists()] == []


def test_every_table_that_the_page_names_stands_in_its_file(root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([A-Z][A-Za-z]+)`(?: in | \()`([\w/]+\.py)`", page)
    assert len(named) > 8
    for name, file in named:
        source = (root / file).read_text(encoding="utf-8")
        assert re.search(rf"^(?:class )?{name}\b", source, re.M), (name, file)
