"""`gatecast diagnose`: from a bundle, a run and a registered version to a picture and its words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from forecasting.errors import GatecastError
from pipelines.cli import build
from pipelines.registry.registry import Registry
from pipelines.tracking.tracker import Tracker

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "format-1"
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def kept(own_state: Path) -> dict[str, str]:
    """Ids of the winner's run, of the run it belongs to and of one that keeps no forecaster."""
    tracker = Tracker.open("diagnose", system_metrics=False)
    with tracker.run("training") as parent, tracker.run("winner", parent=parent) as winner:
        version = Registry(tracker.client).register(
            "diagnosed", winner, BUNDLE, tags={}, description="A model."
        )
        parent.tag(model="diagnosed", version=version)
    with tracker.run("other") as other:
        pass
    return {"winner": winner.id, "parent": parent.id, "other": other.id}


@pytest.mark.parametrize(
    "what", ["bundle", "winner", "parent", "diagnosed@1", "diagnosed@challenger"]
)
def test_a_picture_and_its_words_come_from_whatever_holds_a_forecaster(
    kept: dict[str, str], what: str, tmp_path: Path
) -> None:
    target = str(BUNDLE) if what == "bundle" else kept.get(what, what)
    out = tmp_path / "seen" / "gates.png"
    result = CliRunner().invoke(build(), ["diagnose", target, "--out", str(out)])
    assert result.exit_code == 0, result.exception
    assert out.read_bytes().startswith(PNG)
    assert "signal of vanilla rnn, untrained: reaches back" in result.stdout
    assert "layer 1 memory: median" in result.stdout


def test_what_holds_none_is_refused_in_one_line(kept: dict[str, str], tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(build(), ["diagnose", *arguments])
        assert isinstance(result.exception, GatecastError), result.exception
        return str(result.exception)

    out = ["--out", str(tmp_path / "a.png")]
    assert "keeps no forecaster" in refused(kept["other"], *out)
    assert "cannot be read" in refused("0" * 32, *out)
    assert "nobody" in refused("nobody", *out)
    assert "no folder of a saved forecaster" in refused("missing/bundle", *out)
    assert ".png" in refused(str(BUNDLE), "--out", "a.pdf")
    assert "no such table" in refused(str(BUNDLE), *out, "--data", str(tmp_path / "no.csv"))
    pd.DataFrame({"ds": ["soon"]}).to_csv(tmp_path / "bad.csv")
    assert "bad.csv" in refused(str(BUNDLE), *out, "--data", str(tmp_path / "bad.csv"))
