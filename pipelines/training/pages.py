"""What the pipeline writes into MLflow, so that its own pages tell the story."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.arrays import Array
from forecasting.evaluation.catalogue import METRICS
from forecasting.plotting import Fan, calibration, error_by_step, fan_chart
from pipelines.data.profile import panel_profile
from pipelines.ingestion.report.page import write_html
from pipelines.training.trained import bundle_choice, bundle_weights, describe

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from forecasting.config import ForecasterConfig
    from forecasting.data.panel import Panel
    from pipelines.config import ExperimentConfig
    from pipelines.data.prepare import Prepared
    from pipelines.tracking.run import Run
    from pipelines.tracking.tracker import Tracker
    from pipelines.training.evaluate import Evaluation
    from pipelines.training.gate import Decision
    from pipelines.training.trained import Trained


HISTORY_SHOWN = 4  # horizons of history in a fan chart
EXAMPLE_SERIES, EXAMPLE_ROWS = 2, 48
TABLE_SERIES = 2000  # series listed in the table of errors, worst first


def candidate_tags(name: str, settings: ForecasterConfig) -> dict[str, Any]:
    """Tags the UI can group and filter by."""
    return {
        "kind": "candidate",
        "candidate": name,
        "cell": settings.model.cell,
        "decoder": settings.model.decoder,
        "head": settings.model.head,
    }


def log_dataset(run: Run, data: Prepared, digest: str) -> None:
    """The data as an input of the run, and the ingestion's report beside it."""
    log_input(run, data, digest)
    run.json(panel_profile(data.panel, recent=data.panel.freq.season * 2), "data/profile.json")
    if data.report is not None:
        with tempfile.TemporaryDirectory() as scratch:
            data.report.write_json(Path(scratch) / "ingestion.json")
            write_html(data.report, Path(scratch) / "ingestion.html")
            run.folder(Path(scratch), "data")


def log_input(run: Run, data: Prepared, digest: str) -> None:
    """The data as an input of the run."""
    from pipelines.data.prepare import source_name

    panel = data.panel
    stamp = "long" if panel.freq.integer else "datetime64"
    columns = [("unique_id", "str"), ("ds", stamp), ("y", "float64")]
    columns += [
        (c.name, "str" if c.type == "categorical" else "float64") for c in panel.schema.covariates
    ]
    run.dataset(
        name=source_name(data.source),
        digest=digest,
        source=data.source,
        profile={"num_rows": panel.rows, "num_series": len(panel), "freq": panel.freq.alias},
        columns=columns,
    )


def log_candidate(run: Run, trained: Trained) -> None:
    """Settings as resolved on the data, and what training was like."""
    run.params(trained.config.model_dump(mode="json"))
    run.tag(weights=bundle_weights(trained.bundle))
    run.metrics({"train_seconds": trained.seconds})
    swing = {f"members_{k}": v for k, v in trained.swing.items()}
    run.metrics({k: v for k, v in swing.items() if isinstance(v, int | float)})
    choice = bundle_choice(trained.bundle)
    if choice.tried:
        run.table(choice.table.round(5), "choice.json")
    run.text(choice.markdown() + "\n", "choice.md")


def log_diagnosis(run: Run, trained: Trained, panel: Panel) -> None:
    """How far back the network's signal reaches, and how its gates are used."""
    from forecasting.explain.diagnose import diagnose_bundle
    from forecasting.explain.diagnosis import plot_diagnosis

    if trained.config.model.bidirectional:
        return  # each step of such a network sees both ways: there is no past side to look into
    diagnosis = diagnose_bundle(trained.bundle, panel)
    run.json(diagnosis.summary(), "diagnosis.json")
    with tempfile.TemporaryDirectory() as scratch:
        run.file(plot_diagnosis(diagnosis, Path(scratch) / "diagnosis.png"))


def log_evaluation(
    tracker: Tracker, parent: Run, runs: Mapping[str, Run], evaluation: Evaluation, panel: Panel
) -> None:
    """Scores, curves by horizon, origins and pictures; the same names for every model."""
    by_step, by_cutoff = evaluation.backtest.by_step(), evaluation.backtest.by_cutoff()
    for model in evaluation.backtest.models:
        if model in runs:
            _model_scores(tracker, runs[model], evaluation, model, by_step, by_cutoff)
            _pictures(runs[model], evaluation, model, panel)
            continue
        tags = {"kind": "baseline" if model != "champion" else "champion", "candidate": model}
        with tracker.run(model, parent=parent, tags=tags) as run:
            _model_scores(tracker, run, evaluation, model, by_step, by_cutoff)
    parent.table(evaluation.scores.reset_index().round(5), "scores.json")
    curves = {
        m: by_step[by_step["model"] == m]["smape"].to_numpy() for m in evaluation.backtest.models
    }
    parent.figure(error_by_step(curves, metric="sMAPE, %"), "error_by_horizon.png")
    parent.figure(calibration_plot(evaluation), "calibration.png")


def _model_scores(
    tracker: Tracker,
    run: Run,
    evaluation: Evaluation,
    model: str,
    by_step: pd.DataFrame,
    by_cutoff: pd.DataFrame,
) -> None:
    run.scores(evaluation.scores_of(model))
    steps = by_step[by_step["model"] == model].sort_values("step")
    parted = [name for name, metric in METRICS.items() if metric.parted]
    for name in parted:
        run.curve(f"horizon/{name}", steps[name])
    result = evaluation.backtest
    for level, share in zip(result.levels, _shares(evaluation, model), strict=True):
        run.metrics({"under_quantile": float(share)}, step=round(100 * level))
    cutoffs = by_cutoff[by_cutoff["model"] == model].sort_values("steps_back", ascending=False)
    for row in cutoffs.to_dict("records"):
        name = f"origin {row['steps_back']} rows back"
        tags = {"kind": "origin", "candidate": model}
        with tracker.run(name, parent=run, tags=tags) as origin:
            origin.metrics({k: float(row[k]) for k in parted})
    series = result.by_series()
    series = series[series["model"] == model].drop(columns="model")
    worst = series.sort_values("mase", ascending=False).head(TABLE_SERIES).round(5)
    run.table(worst, "errors_by_series.json")


def _shares(evaluation: Evaluation, model: str) -> Array:
    """[Q] share of actuals at or under each quantile."""
    result = evaluation.backtest
    quantiles = result.quantiles[model]
    known = np.isfinite(result.actual) & np.isfinite(quantiles).all(axis=-1)
    if not known.any():
        return np.full(len(result.levels), np.nan)
    return np.asarray((result.actual[known][:, None] <= quantiles[known]).mean(axis=0))


def calibration_plot(evaluation: Evaluation) -> Figure:
    """Observed against nominal levels of every model."""
    shares = {model: _shares(evaluation, model) for model in evaluation.backtest.models}
    return calibration(evaluation.backtest.levels, shares)


def _pictures(run: Run, evaluation: Evaluation, model: str, panel: Panel) -> None:
    """Fan charts of the best, median and worst series at the last origin."""
    fans = backtest_fans(evaluation, model, panel)
    if fans:
        run.figure(fan_chart(fans, title=f"{model}: best, median and worst series"), "fans.png")


def backtest_fans(evaluation: Evaluation, model: str, panel: Panel) -> list[Fan]:
    """The best two, middle two and worst two series of a model at its latest origin."""
    result = evaluation.backtest
    latest = np.flatnonzero(result.steps_back == result.steps_back.min())
    errors = result.errors(model)["mase"]
    known = np.isfinite(errors)
    counts = known.sum(axis=1)
    # NaN where nothing of a forecast can be scored.
    errors = np.where(known, errors, 0.0).sum(axis=1) / np.where(counts > 0, counts, np.nan)
    usable = latest[np.isfinite(errors[latest])]
    if not len(usable):
        return []
    order = usable[np.argsort(errors[usable])]
    middle = len(order) // 2
    picks = {"best": order[:2], "median": order[middle : middle + 2], "worst": order[-2:]}
    seen: set[int] = set()
    fans = []
    for label, rows in picks.items():
        for row in rows:
            if int(row) not in seen:
                seen.add(int(row))
                fans.append(
                    _fan(evaluation, model, panel, int(row), f"{label}, MASE {errors[row]:.2f}")
                )
    return fans


def _fan(evaluation: Evaluation, model: str, panel: Panel, row: int, note: str) -> Fan:
    result = evaluation.backtest
    back = int(result.steps_back[row])
    series = panel.select(np.flatnonzero(panel.ids == result.ids[row]))
    history = series.truncate(back).tail(HISTORY_SHOWN * result.actual.shape[1])
    return Fan(
        title=f"{result.ids[row]} ({note})",
        history_ds=history.freq.stamps(history.start, 0, history.rows)[0],
        history_y=history.y,
        ds=result.stamps[row],
        levels=result.levels,
        quantiles=result.quantiles[model][row],
        actual=result.actual[row],
    )


def comparison_line(evaluation: Evaluation, metric: str, winner: str) -> str:
    """One line: every model's score, the winner marked."""
    parts = [
        f"{'→ ' if model == winner else ''}{model} {evaluation.scores_of(model)[metric]:.3f}"
        for model in evaluation.backtest.models
    ]
    return f"{metric}: " + ", ".join(parts)


def log_decision(runs: Sequence[Run], decided: Decision, *, asked: bool = True) -> None:
    """The gate's table and its reason, in the pipeline's run and the challenger's.

    ``asked`` : whether it decided anything; else what it would have said of one that did not win.
    """
    note = "" if asked else "It was not asked of this candidate: another scored better.\n\n"
    for run in runs:
        run.table(decided.table(), "gate.json")
        run.text(f"{note}{decided.markdown()}\n\n{decided.reason}\n", "gate.md")
        if asked:
            passed = "passed" if decided.promote else "refused"
            run.tags({"gate": passed, "gate_reason": decided.reason})
        else:
            run.tags({"gate": "not asked"})


def version_description(
    config: ExperimentConfig,
    trained: Trained,
    evaluation: Evaluation,
    decided: Decision,
    data: Prepared,
    page: str,
) -> str:
    """The text of a model version's page: what it is, how it scored, what the gate said.

    ``page`` : the address of the runs beside each other.
    """
    names = [key for key, metric in METRICS.items() if metric.shown]
    lines = [f"**{trained.name}**: {describe(trained.config)}."]
    if config.description:
        lines.append(config.description)
    lines += [
        f"Trained on {data.summary}; horizon {config.horizon}.",
        "",
        f"Backtest on {config.backtest.windows} rolling origins:",
        "",
        "| model | " + " | ".join(METRICS[name].title for name in names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for model in evaluation.backtest.models:
        s = evaluation.scores_of(model)
        name = f"**{model}**" if model == trained.name else model
        figures = [METRICS[key].text.format(s[key]) for key in names]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    lines += ["", "The gate:", "", decided.markdown(), "", decided.reason]
    lines += ["", "How it was chosen:", "", bundle_choice(trained.bundle).markdown()]
    lines += ["", f"[Beside the other candidates]({page})"]
    return "\n".join(lines)


def input_example(panel: Panel) -> pd.DataFrame:
    """The last rows of two series, as a caller would send them."""
    few = panel.select(np.arange(min(EXAMPLE_SERIES, len(panel)))).tail(EXAMPLE_ROWS)
    frame = few.to_frame()
    return frame.where(frame.notna(), None) if frame.isna().any().any() else frame
