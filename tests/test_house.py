"""The rules of the house hold, every exception is named with its reason, and none is left over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests import house

Rule = Callable[..., Iterator[str]]

DOCUMENT = "one literal: the OpenAPI document as it is sent"
TYPER = "typer reads a command's options from its parameters"
AUTOGRAD = "torch.autograd hands a function's tensors over one by one"

# Places, as a rule's lines begin (`*` for any), that may break it, and why. Shrink, never grow.
EXCEPTIONS: Mapping[Rule, Mapping[str, str]] = {
    house.only_faces_hold_code: {
        "forecasting": "face: what a library user imports",
        "forecasting.datasets": "face: small data sets by name",
        "forecasting.interop": "face: the ways from and to other libraries",
        "forecasting.networks": "face: the network, whatever its parts",
        "forecasting.pretrained": "face: weights by name, wherever they lie",
        "pipelines.config": "face: the sections of an experiment",
        "pipelines.ingestion": "face: `ingest` and what it gives",
    },
    house.tests_mirror_the_tree: {
        "forecasting/hardware/test_speed_twins.py": "every fast path beside its slow twin",
        "forecasting/prediction/test_one_pass.py": "the engine beside its slow twin",
        "forecasting/selection/test_validation.py": "what held-back origins decide, end to end",
        "forecasting/test_docs.py": "the pages' code on forecasting",
        "forecasting/test_manners.py": "the host of the library is left as it was found",
        "forecasting/test_properties.py": "what holds for every panel, transform and head",
        "forecasting/test_unspoken.py": "what the panel says of series that cannot say it",
        "forecasting/training/test_gpu.py": "what training does on a GPU",
        "forecasting/training/test_gpu_speed.py": "the pieces of benchmarks/speed_gpu.py",
        "forecasting/training/test_learning.py": "what networks must be able to learn",
        "pipelines/ingestion/read/test_text_pieces.py": "texts in pieces beside texts at once",
        "pipelines/ingestion/test_attacks.py": "tables made to do harm",
        "pipelines/ingestion/test_bad_input.py": "what cannot be read, refused with its cure",
        "pipelines/ingestion/test_duckdb.py": "needs DuckDB: read, and written back to",
        "pipelines/ingestion/test_lakes.py": "needs Delta and Iceberg: read, and what is newer",
        "pipelines/ingestion/test_fuzz.py": "any table, read or refused",
        "pipelines/ingestion/test_messy.py": "real tables as they come",
        "pipelines/ingestion/test_postgres.py": "needs a PostgreSQL server",
        "pipelines/scheduling/test_other_clocks.py": "schedules under other clocks and zones",
        "pipelines/moving/test_servers.py": "moves to real servers, and their clocks",
        "pipelines/test_postgres.py": "needs a PostgreSQL server",
        "pipelines/test_canaries.py": "secrets given to every command, looked for afterwards",
        "pipelines/test_year.py": "a year of deliveries, end to end",
        "serving/test_bad_input.py": "what is refused, over HTTP",
        "serving/test_explorer.py": "the explorer in a browser, end to end",
        "serving/test_explorer_modules.py": "the explorer's modules beside the library",
        "serving/test_forecast.py": "a forecast asked over HTTP, end to end",
        "serving/test_fuzz.py": "any body, answered or refused",
        "serving/models/test_hostile.py": "broken and hostile champions and registries",
        "serving/reading/test_hostile.py": "bodies that claim more than they hold",
        "serving/reading/test_no_500.py": "stamps, zones and tables that made the service fail",
        "serving/test_parity.py": "the service's numbers are the library's",
        "serving/test_process.py": "the server as a process",
    },
    house.functions_are_short: {
        "forecasting.data.panel.from_arrays": "what a request delivers, each part by its name",
        "forecasting.forecaster.fit": "what a user may say of a table, each by its name",
        "forecasting.networks.fast_gru._learn": AUTOGRAD,
        "forecasting.networks.fast_lstm._learn": AUTOGRAD,
        "pipelines.benchmark.benchmark.run": "takes what its command does",
        "pipelines.commands.benchmark.benchmark": TYPER,
        "pipelines.commands.forecast.forecast_command": TYPER,
        "pipelines.commands.operating.migrate.migrate_command": TYPER,
        "pipelines.commands.schedule.by_flags_command": TYPER,
        "pipelines.commands.train.train_command": TYPER,
        "pipelines.commands.train.backtest_command": TYPER,
        "pipelines.ingestion.ledger.note": "what a line of the ledger holds, each part by its name",
        "serving.routes.openapi.schemas": DOCUMENT,
    },
    house.imports_stand_on_top: {
        "forecasting.__getattr__": "the face is lazy: a config must not pay for torch",
        "forecasting.forecaster.train": "Lightning takes seconds, and forecasting needs none",
        "forecasting.forecaster.carry_on": "Lightning takes seconds, and forecasting needs none",
        "forecasting.forecaster.refit": "Lightning takes seconds, and forecasting needs none",
        "forecasting.known.occasions._package": "optional: who names no country needs none",
        "forecasting.data.panel.from_frame": "reads pandas; a service of arrays starts without",
    },
}
RULES: tuple[Rule, ...] = (
    house.lent_names_are_what_they_say,
    house.lent_names_are_no_modules,
    house.only_faces_hold_code,
    house.folders_are_small,
    house.tests_mirror_the_tree,
    house.functions_are_short,
    house.private_names_stay_at_home,
    house.imports_stand_on_top,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_of_the_house_holds(root: Path, rule: Rule) -> None:
    allowed = EXCEPTIONS.get(rule, {})
    assert [line for line in rule(root) if not _among(line, allowed)] == []


@pytest.mark.parametrize("rule", EXCEPTIONS, ids=lambda rule: rule.__name__)
def test_no_exception_outlives_what_it_excuses(root: Path, rule: Rule) -> None:
    lines = list(rule(root))
    kept = EXCEPTIONS[rule]
    assert [place for place in kept if not any(_among(line, [place]) for line in lines)] == []
    assert all(EXCEPTIONS[rule].values())


@pytest.mark.parametrize(
    ("rule", "files", "place"),
    [
        (
            house.lent_names_are_no_modules,
            {
                "forecasting/__init__.py": "__all__ = ['fold']",
                "forecasting/fold.py": "def fold(): ...",
            },
            "forecasting.fold",
        ),
        (
            house.lent_names_are_no_modules,
            {
                "serving/__init__.py": "__all__ = ['fold']",
                "serving/fold/__init__.py": "",
            },
            "serving.fold",
        ),
        (house.only_faces_hold_code, {"serving/__init__.py": '"""Text."""\nimport os'}, "serving"),
        (
            house.folders_are_small,
            {f"pipelines/room/m{i}.py": "" for i in range(16)},
            "pipelines/room",
        ),
        (
            house.folders_are_small,
            {f"tests/serving/test_m{i}.py": "" for i in range(16)},
            "tests/serving",
        ),
        (
            house.tests_mirror_the_tree,
            {"forecasting/data/panel.py": "", "tests/forecasting/data/test_pane.py": ""},
            "forecasting/data/test_pane.py",
        ),
        (
            house.tests_mirror_the_tree,
            {"forecasting/panel.py": "", "tests/forecasting/gone/test_panel.py": ""},
            "forecasting/gone/test_panel.py",
        ),
        (
            house.functions_are_short,
            {"serving/app.py": "async def long():\n" + "    x = 1\n" * 80},
            "serving.app.long: 81 lines",
        ),
        (
            house.functions_are_short,
            {"serving/app.py": "class A:\n    def wide(self, a, b, c, d, e, f, *g, h, **i): ..."},
            "serving.app.wide: 9 parameters",
        ),
        (
            house.private_names_stay_at_home,
            {"serving/app.py": "def f():\n    from forecasting.config import A, _b"},
            "serving.app: forecasting.config._b",
        ),
        (
            house.imports_stand_on_top,
            {"forecasting/a.py": "def f():\n    import scipy.stats\n    import json"},
            "forecasting.a.f: json",
        ),
        (
            house.imports_stand_on_top,
            {"forecasting/a.py": "def f():\n    from forecasting import b"},
            "forecasting.a.f: forecasting",
        ),
    ],
)
def test_what_breaks_a_rule_is_noticed(
    tmp_path: Path, rule: Rule, files: Mapping[str, str], place: str
) -> None:
    _build(tmp_path, files)
    (line,) = rule(tmp_path)
    assert line.startswith(place)


def test_a_tree_that_keeps_the_rules_passes_them(tmp_path: Path) -> None:
    _build(
        tmp_path,
        {
            "serving/__init__.py": '"""What it is."""\n',
            "serving/app.py": "from forecasting.data.panel import Panel\nimport json\n"
            "def short(self, a, b, c, d, e, f, g, h):\n" + "    x = 1\n" * 79,
            "forecasting/data/__init__.py": "",
            "forecasting/data/panel.py": "class Panel:\n    def f(self):\n        import pandas",
            "tests/forecasting/test_data.py": "",
            "tests/forecasting/data/test_panel.py": "",
        },
    )
    static = [r for r in RULES if r is not house.lent_names_are_what_they_say]
    assert [line for rule in static for line in rule(tmp_path)] == []


@pytest.mark.parametrize(
    ("lent", "told"),
    [
        ("gone", "not there"),
        ("fold", "is a module"),
        ("other", "is not house_dummy.fold.other"),
    ],
)
def test_a_name_that_is_not_what_it_says_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lent: str, told: str
) -> None:
    face = "from typing import TYPE_CHECKING\nimport house_dummy.fold\nother = 2\n"
    face += "if TYPE_CHECKING:\n    from house_dummy.fold import other\n"
    _build(
        tmp_path,
        {
            "house_dummy/__init__.py": f"{face}__all__ = [{lent!r}]\n",
            "house_dummy/fold.py": "def fold(): ...\ndef other(): ...\n",
        },
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        (line,) = house.lent_names_are_what_they_say(tmp_path, ("house_dummy",))
    finally:
        for name in ("house_dummy", "house_dummy.fold"):
            sys.modules.pop(name, None)
    assert line.startswith(f"house_dummy.{lent}")
    assert told in line


def test_the_backtest_that_is_lent_out_is_the_function() -> None:
    import forecasting.evaluation.backtest
    from forecasting import backtest

    assert backtest is forecasting.evaluation.backtest.backtest
    assert callable(backtest)


def _among(line: str, places: Iterable[str]) -> bool:
    place = line.split(":")[0]
    return any(fnmatchcase(place, pattern) for pattern in places)


def _build(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
