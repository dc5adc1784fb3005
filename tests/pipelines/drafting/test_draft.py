"""The config that is written is read as it is meant, and trains as it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.config import load_config
from pipelines.data.prepare import prepare
from pipelines.drafting.draft import draft
from pipelines.drafting.look import Look, look_at
from pipelines.training.backtest import backtest_only
from tests.pipelines.drafting.tables import KINDS, town

Seen = Callable[[str], Look]


def written(folder: Path, look: Look, **more: object) -> Path:
    text, _ = draft(look, name="x", file="x.yaml", more=dict(more))
    (folder / "x.yaml").write_text(text)
    return folder / "x.yaml"


@pytest.mark.parametrize("kind", KINDS)
def test_the_config_reads_the_table_it_was_made_of(kind: str, seen: Seen, tmp_path: Path) -> None:
    config, wanted = load_config(written(tmp_path, seen(kind))), KINDS[kind]
    panel = prepare(config).panel
    assert len(panel) == wanted.series
    assert panel.freq.alias == wanted.freq
    assert config.horizon == wanted.horizon
    known = sorted(name for name, role in wanted.covariates.items() if role == "future")
    assert sorted(c.name for c in panel.schema.future) == known
    assert panel.schema.past == ()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_config_trains_as_it_stands(kind: str, seen: Seen, tmp_path: Path) -> None:
    quick = {"max_steps": 5, "threads": 1, "members": 1}
    config = load_config(written(tmp_path, seen(kind), training=quick))
    scores = backtest_only(config).scores
    assert {"model", "seasonal_naive"} <= set(scores.index)
    assert scores["mae"].notna().all()


def test_lines_are_short_and_every_setting_is_explained(tmp_path: Path, seen: Seen) -> None:
    text = written(tmp_path, seen("shops")).read_text()
    assert len(text.splitlines()) <= 30
    settings = [line for line in text.splitlines() if ":" in line and not line.startswith("#")]
    unexplained = [line.strip() for line in settings if "#" not in line]
    assert [line.partition(":")[0] for line in unexplained] == ["data", "source", "covariates"]


def test_what_may_be_a_covariate_is_left_to_the_user(tmp_path: Path, seen: Seen) -> None:
    path = written(tmp_path, seen("shops"))
    text = path.read_text()
    assert "#   - {name: footfall, role: past}" in text
    assert "Of no use as they are: remark" in text
    path.write_text(text.replace("  #   - {name: footfall", "    - {name: footfall"))
    assert [c.name for c in prepare(load_config(path)).panel.schema.past] == ["footfall"]


def test_a_short_history_gets_fewer_cutoffs(tmp_path: Path) -> None:
    look = look_at(str(town(tmp_path)), {}, horizon=9)
    _, values = draft(look, name="x", file="x.yaml", more={"backtest": {"step": 1}})
    assert values["backtest"] == {"windows": 1, "step": 1}


def test_counts_are_offered_a_forecast_of_counts(seen: Seen) -> None:
    text, values = draft(seen("parts"), name="x", file="x.yaml")
    assert "# model: {head: negative_binomial}" in text
    assert "model" not in values
