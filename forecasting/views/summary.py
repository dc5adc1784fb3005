"""What a trained forecaster is, in a few lines: for a terminal, and for a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from forecasting.ensemble import Ensemble
from forecasting.errors import listed

Facts = list[tuple[str, str]]
NAMED = 6  # columns, weights and the like that are named before the rest is counted
STYLE = "text-align:left;vertical-align:top;padding:1px 12px 1px 0"


def facts(ensemble: Ensemble, fitted: Mapping[str, Any]) -> Facts:
    """What there is to say of a forecaster, as pairs of a title and a text.

    Parameters
    ----------
    fitted : ``seconds``, ``series`` and ``rows`` of its training; empty where they are not known.
    """
    config, swing = ensemble.config, ensemble.swing
    model, levels = config.model, config.model.quantile_levels
    pairs: Facts = [
        ("networks", _networks(ensemble)),
        ("forecasts", f"{_steps(config.horizon)} of {config.freq or 'a step'}, quantiles "
         f"{levels[0]:g} to {levels[-1]:g}"),
        ("looks back", f"{ensemble.context} rows"),
        ("season", f"{config.season} rows" if config.season > 1 else "none"),
    ]  # fmt: skip
    columns = [
        f"{role}: {listed([c.name for c in ensemble.schema.role(role)], NAMED)}"
        for role in ("past", "future", "static")
        if ensemble.schema.role(role)
    ]
    if columns:
        pairs.append(("covariates", "; ".join(columns)))
    if model.blend:
        pool = listed([f"{name} {share:.0%}" for name, share in model.pool.items()], NAMED)
        pairs.append(("classical", f"{model.blend:.0%} of the median: {pool or 'Theta'}"))
    if "ensemble" in swing:
        spread = ""
        if len(ensemble.networks) > 1:
            spread = f", its networks alone {swing['min']:.3f} to {swing['max']:.3f}"
        pairs.append(("held back", f"MASE {swing['ensemble']:.3f}{spread}"))
    starts = {k.removeprefix("start_"): v for k, v in swing.items() if k.startswith("start_")}
    if starts:
        scores = ", ".join(f"{name} {score:.3f}" for name, score in starts.items())
        pairs.append(("began from", f"{config.training.start} (MASE held back: {scores})"))
    pairs.append(("intervals", "as trained" if ensemble.correction is None else
                 "corrected by what was held back"))  # fmt: skip
    if fitted:
        pairs.append(
            ("trained", f"in {_duration(fitted['seconds'])} on {fitted['series']:,} series, "
             f"{fitted['rows']:,} rows")
        )  # fmt: skip
    return pairs


def as_text(title: str, told: Facts) -> str:
    """The facts, one a line, under a title."""
    width = max(len(name) for name, _ in told)
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in told)])


def as_html(title: str, told: Facts) -> str:
    """The facts as a small table; whatever comes from names of columns is escaped."""
    rows = "".join(
        f'<tr><th style="{STYLE}">{escape(name)}</th><td style="{STYLE}">{escape(text)}</td></tr>'
        for name, text in told
    )
    return f"<div><strong>{escape(title)}</strong><table>{rows}</table></div>"


def _networks(ensemble: Ensemble) -> str:
    count = sum(p.numel() for network in ensemble.networks for p in network.parameters())
    cells = Counter(network.config.model.cell for network in ensemble.networks)
    kinds = ", ".join(
        f"{number} {cell.replace('_', ' ').upper()}" for cell, number in cells.items()
    )
    model = ensemble.config.model
    size = f"{model.layers} layer{'s' * (model.layers > 1)} of {model.hidden_size}"
    return f"{kinds}, {size}, {count:,} parameters in all"


def _steps(horizon: int) -> str:
    return f"{horizon} step{'s' * (horizon > 1)}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
