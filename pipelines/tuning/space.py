"""The search space of `gatecast tune`, and the config file its winner becomes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.config import CandidateConfig, ExperimentConfig, Range, build_config
from pipelines.config.file import merge
from pipelines.machine.files import write_text

WINNER = "tuned"  # the candidate's name in the file that is written


def suggest(trial: Any, key: str, spec: Range) -> Any:
    """A value of a range, as the search chooses."""
    if spec.choices is not None:
        return decoded(spec, trial.suggest_categorical(key, [_encoded(c) for c in spec.choices]))
    low, high = float(spec.low or 0.0), float(spec.high or 0.0)
    if spec.integer:
        return trial.suggest_int(key, int(low), int(high), log=spec.log)
    return trial.suggest_float(key, low, high, log=spec.log)


def _encoded(choice: Any) -> Any:
    """Lists and groups as JSON text: the study's database holds plain values only."""
    return choice if isinstance(choice, str | int | float | bool | None) else json.dumps(choice)


def decoded(spec: Range, value: Any) -> Any:
    """A stored value as the config wants it."""
    for choice in spec.choices or ():
        if _encoded(choice) == value and type(_encoded(choice)) is type(value):
            return list(choice) if isinstance(choice, tuple) else choice
    return value


def with_settings(
    config: ExperimentConfig, name: str, params: Mapping[str, Any]
) -> ExperimentConfig:
    """The experiment with one candidate, `tuned`: another one's settings changed by `params`."""
    own = config.candidates[name].model_dump(exclude_unset=True)
    changed = merge(own, _nested(params))
    return config.model_copy(update={"candidates": {WINNER: CandidateConfig.parse(changed)}})


def _nested(params: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in params.items():
        *groups, last = key.split(".")
        target = out
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = value
    return out


def write_winner(
    config: ExperimentConfig,
    values: Mapping[str, Any],
    name: str,
    params: Mapping[str, Any],
    out: Path,
    found: str,
) -> None:
    """The winner's file: what was read, with the tuned candidate in place of the others."""
    own = config.candidates[name].model_dump(mode="json", exclude_unset=True)
    candidate = merge(own, _nested(params))
    new = {**values, "candidates": {WINNER: {k: v for k, v in candidate.items() if v}}}
    build_config(new, origin=str(out))
    today = datetime.date.today().isoformat()
    head = f"# By `gatecast tune` on {today}, from the candidate {name}: {found}.\n"
    text = head + yaml.safe_dump(new, sort_keys=False, allow_unicode=True)
    write_text(text, out)
