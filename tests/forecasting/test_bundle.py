"""Bundles: refused when anything is wrong with them, and read for ever when nothing is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting import bundle
from forecasting.bundle import FILES, FORMAT_VERSION
from forecasting.errors import BundleError
from forecasting.forecaster import Forecaster
from forecasting.prediction.example import example_panel
from forecasting.prediction.predictor import Predictor
from tests.forecasting.samples import MIXES, make_panel, quantiles, settings, untrained

RELEASED = Path(__file__).resolve().parent.parent / "bundles"
LOADERS = [bundle.verify, Forecaster.load, Predictor.load]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = {"hidden_size": 4, "layers": 1}
    forecaster = untrained(settings(model=model), MIXES["all"])
    forecaster.correction = np.linspace(-0.5, 0.5, 15).reshape(3, 5)
    return forecaster.save(tmp_path_factory.mktemp("bundles") / "b", metrics={"smape": 12.5})


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def _edit(folder: Path, **changes: Any) -> None:
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    file.write_text(json.dumps(content))


def test_a_bundle_holds_weights_graph_settings_and_manifest_and_no_pickle(saved: Path) -> None:
    assert {f.name for f in saved.iterdir()} == {*FILES, "manifest.json"}
    manifest = bundle.verify(saved)
    assert manifest["format_version"] == FORMAT_VERSION
    assert manifest["metrics"] == {"smape": 12.5}
    assert manifest["horizon"] == 3
    assert {c["name"] for c in manifest["covariates"]} >= {"temp", "promo", "region"}
    assert set(manifest["golden"]) == {"mean", "quantiles", "levels", "arithmetic"}
    for file in saved.iterdir():
        # A pickle begins with a protocol mark, a zip of pickles with PK.
        assert not file.read_bytes().startswith((b"\x80", b"PK"))


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_refused(copy: Path, load: Any, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} has changed since it was saved"):
        load(copy)


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, load: Any, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"incomplete: {name} is missing"):
        load(copy)


@pytest.mark.parametrize("load", LOADERS)
def test_a_newer_format_asks_for_an_upgrade(copy: Path, load: Any) -> None:
    _edit(copy, format_version=FORMAT_VERSION + 1)
    with pytest.raises(BundleError, match=r"bundle format 2.*upgrade gatecast"):
        load(copy)


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format_version": "x"}', "\x00"])
def test_a_damaged_manifest_is_refused(copy: Path, load: Any, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        load(copy)


@pytest.mark.parametrize(
    "changes",
    [{"sha256": None}, {"sha256": {}}, {"sha256": []}, {"format_version": None},
     {"format_version": 0}, {"sha256": {"model.onnx": 3}}],
    ids=str,
)  # fmt: skip
def test_a_manifest_without_its_parts_is_refused(copy: Path, changes: dict[str, Any]) -> None:
    _edit(copy, **changes)
    for load in LOADERS:
        with pytest.raises(BundleError, match="fetch the bundle again"):
            load(copy)


def _change_settings(folder: Path, change: dict[str, Any]) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    _edit(folder, sha256={name: bundle.sha256(folder / name) for name in FILES})


@pytest.mark.parametrize("cells", [[], ["gru", "gru"], ["lstm"]])
def test_settings_that_do_not_fit_the_weights_are_refused(copy: Path, cells: list[str]) -> None:
    _change_settings(copy, {"cells": cells})
    with pytest.raises(BundleError, match=r"weights do not fit|more members"):
        Forecaster.load(copy)


@pytest.mark.parametrize(
    "change",
    [{"config": {}}, {"schema": 3}, {"config": {"horizon": 3, "new_key": 1}}, {"cells": None}],
    ids=str,
)
def test_settings_that_cannot_be_read_are_refused(copy: Path, change: dict[str, Any]) -> None:
    _change_settings(copy, change)
    for load in LOADERS[1:]:
        with pytest.raises(BundleError, match=r"config\.json"):
            load(copy)


@pytest.mark.parametrize("load", LOADERS)
def test_what_is_no_bundle_is_said(tmp_path: Path, load: Any) -> None:
    with pytest.raises(BundleError, match="is no saved forecaster"):
        load(tmp_path)
    with pytest.raises(BundleError, match="is no saved forecaster"):
        load(tmp_path / "nowhere")


def test_a_loaded_forecaster_is_what_was_saved(saved: Path) -> None:
    forecaster, predictor = Forecaster.load(saved), Predictor.load(saved)
    assert forecaster.config == predictor.config
    assert forecaster.schema == predictor.schema == MIXES["all"]
    np.testing.assert_allclose(forecaster.correction, np.linspace(-0.5, 0.5, 15).reshape(3, 5))
    panel = make_panel([9, 20], schema=MIXES["all"])
    a, b = quantiles(forecaster, panel), quantiles(predictor, panel)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


def test_saving_again_replaces_a_bundle_and_nothing_else(tmp_path: Path) -> None:
    forecaster = untrained(settings(model={"hidden_size": 4, "layers": 1}))
    target = tmp_path / "b"
    forecaster.save(target)
    (target / "old-note.txt").write_text("x")
    forecaster.save(target)
    assert {f.name for f in target.iterdir()} == {*FILES, "manifest.json"}
    assert [f.name for f in tmp_path.iterdir()] == ["b"]
    precious = tmp_path / "results"
    precious.mkdir()
    (precious / "thesis.tex").write_text("x")
    with pytest.raises(BundleError, match="is no saved forecaster: it is not overwritten"):
        forecaster.save(precious)
    assert (precious / "thesis.tex").exists()
    with pytest.raises(BundleError, match="not overwritten"):
        forecaster.save(precious / "thesis.tex")


def test_a_failed_save_leaves_the_old_bundle_and_no_rubbish(tmp_path: Path) -> None:
    forecaster = untrained(settings(model={"hidden_size": 4, "layers": 1}))
    forecaster.save(tmp_path / "b")
    before = bundle.verify(tmp_path / "b")["sha256"]
    with pytest.raises(TypeError):
        forecaster.save(tmp_path / "b", metrics={"bad": object()})
    assert bundle.verify(tmp_path / "b")["sha256"] == before
    assert [f.name for f in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_a_bundle_of_every_released_format_gives_its_golden_forecast(version: int) -> None:
    folder = RELEASED / f"format-{version}"
    manifest = bundle.verify(folder)
    assert manifest["format_version"] == version
    golden = manifest["golden"]
    # What was asked and answered at release, told without any of today's code.
    asked = json.loads((RELEASED / f"format-{version}.json").read_text())
    tables = {k: pd.DataFrame(asked[k]) for k in ("history", "future", "static", "forecast")}
    for name in ("history", "future", "forecast"):
        tables[name]["ds"] = pd.to_datetime(tables[name]["ds"])
    for engine in (Forecaster.load(folder), Predictor.load(folder)):
        forecast = engine.predict_panel(example_panel(engine, 1), quantiles=golden["levels"])
        np.testing.assert_allclose(forecast.mean[0], golden["mean"], rtol=1e-5)
        np.testing.assert_allclose(forecast.quantiles[0], golden["quantiles"], rtol=1e-5)
        answer = engine.predict(
            tables["history"], future=tables["future"], static=tables["static"],
            quantiles=(0.1, 0.5, 0.9),
        )  # fmt: skip
        pd.testing.assert_frame_equal(answer, tables["forecast"], rtol=1e-5, check_dtype=False)


def test_a_released_bundle_is_small() -> None:
    size = sum(f.stat().st_size for f in RELEASED.rglob("*") if f.is_file())
    assert size < 100_000 * FORMAT_VERSION
