"""What is called otherwise in the new place: MLflow gives runs and experiments ids of its own."""

from __future__ import annotations

import re

MOVED_FROM = "gatecast.moved_from"  # tag of runs, logged models, models and versions
_RUN = re.compile(r"(?<![0-9a-f])(?:m-)?[0-9a-f]{32}(?![0-9a-f])")
_EXPERIMENT = re.compile(r"(?<=/experiments/)\d+(?=/|\?|$)")


class Renamed:
    """Old id → new id of runs, logged models and experiments."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.experiments: dict[str, str] = {}

    def text(self, text: str) -> str:
        """A text in which every id that is known is the new one."""
        text = _RUN.sub(lambda found: self.ids.get(found[0], found[0]), text)
        return _EXPERIMENT.sub(lambda found: self.experiments.get(found[0], found[0]), text)

    def tags(self, tags: dict[str, str]) -> dict[str, str]:
        """Tags by which pages and models find one another, without those of an earlier move."""
        return {key: self.text(text) for key, text in tags.items() if key != MOVED_FROM}
