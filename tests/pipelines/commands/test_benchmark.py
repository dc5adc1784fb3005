"""``gatecast benchmark --strangers``: rows are asked for as it is told, and summed up on a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines.benchmark import ratios, strangers
from pipelines.benchmark.strangers import DRAWS, PEERS, QUICK, WHOLE, Row
from pipelines.cli import build


def benchmark(*words: str) -> Result:
    return CliRunner().invoke(build(), ["benchmark", *words, "--jobs", "1"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What rows were asked for; each set has one of ten series."""
    calls: list[dict[str, Any]] = []

    def rows(names: list[str], draws: dict[int, int], **told: Any) -> Iterator[Row]:
        calls.append({"names": names, "draws": draws, **told})
        for name in names:
            yield Row(name, name, 10, 0, 0.9, dict.fromkeys(PEERS, 1.0), 0.8, 2.0)

    monkeypatch.setattr(strangers, "measured", rows)
    return calls


def test_sets_are_summed_up_on_a_page(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{ratios.BEGIN}\nold\n{ratios.END}\n\nafter\n")
    told = benchmark("m1", "--strangers", "--quick", "--inside", "--report", str(page))
    assert told.exit_code == 0, told.output
    (call,) = asked
    assert call["names"] == ["m1_yearly", "m1_quarterly", "m1_monthly"]
    assert call["draws"] == QUICK
    assert call["within"] is True
    assert call["settings"] == {"training": {"threads": 1}}
    text = page.read_text()
    assert "| 10 | 3 | 0.900 | 0.900 (m1_monthly) | 3 of 3 | 80% to 80% | 3 of 3 |" in text
    assert "| 10 | m1_monthly | 1 | 0.900 | AutoETS | 1.000 | 0.900 | 80% |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def test_the_whole_takes_every_size_and_sets_as_they_are(asked: list[dict[str, Any]]) -> None:
    assert benchmark("m1_yearly", "--strangers", "--set", "training.seed=3").exit_code == 0
    assert asked[0]["draws"] == {**DRAWS, WHOLE: 1}
    assert asked[0]["settings"] == {"training": {"threads": 1, "seed": 3}}


def test_quick_alone_is_refused() -> None:
    told = benchmark("m1_yearly", "--quick")
    assert told.exit_code != 0
    assert "--quick is a matter of --strangers" in str(told.exception or told.output)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("m1_yearly", "--models", "LSTM"), "--models means nothing with --strangers"),
        (("m1_yearly", "--peers", "AutoETS"), "--peers means nothing with --strangers"),
        (("m1_yearly", "--fresh"), "--fresh means nothing with --strangers"),
        (("--report", "page.md"), "name one or more"),
    ],
)
def test_what_strangers_do_not_heed_is_refused(
    asked: list[dict[str, Any]], tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    told = benchmark(*words, "--strangers")
    assert told.exit_code != 0
    assert said in str(told.exception or told.output)
    assert not asked
