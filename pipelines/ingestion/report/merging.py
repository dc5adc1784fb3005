"""The reports of a table's pieces as the report of the table."""

from __future__ import annotations

from typing import Any

from pipelines.ingestion.config import ReportConfig
from pipelines.ingestion.report.report import Report, summarise

# A season is looked for in one piece: it says as much as all.
FIRST = " of the first piece"
_SUMS = ("count", "series", "positions_left_out")


class Merged:
    """Adds up reports of pieces; every series is in one piece only."""

    def __init__(self, limits: ReportConfig) -> None:
        self.limits = limits
        self.values: dict[str, Any] = {}
        self.figures: list[tuple[int, str, str]] = []
        self.more = False

    def add(self, report: Report) -> None:
        """Take in a piece's report."""
        values = report.to_dict()
        worst = {w["unique_id"]: sum(w["findings"].values()) for w in values["worst"]}
        self.figures += [(worst.get(name, 0), name, svg) for name, svg in report.figures]
        self.figures.sort(key=lambda f: -f[0])
        del self.figures[self.limits.drawings :]
        if not self.values:
            self.values = values
            return
        mine = self.values
        if not self.more:
            self.more = True
            mine["facts"] = {**mine["facts"], "season": mine["facts"]["season"] + FIRST}
        for group in ("rows", "values"):
            mine[group] = _added(mine[group], values[group])
        self._series(mine["series"], values["series"])
        self._findings(mine["findings"], values["findings"])
        mine["totals"] += values["totals"]
        mine["worst"] = sorted(
            [*mine["worst"], *values["worst"]], key=lambda w: -sum(w["findings"].values())
        )[: self.limits.series]
        self._frequency(mine["frequency"], values["frequency"])

    def report(self) -> Report:
        """The report of all that was added."""
        values = self.values
        rows = values["rows"]
        total = rows["in"] - sum(rows["removed"].values()) + sum(rows["inserted"].values())
        rows["balanced"] = total == rows["out"]
        values["summary"] = summarise(values)
        return Report(values, None, [(name, svg) for _, name, svg in self.figures])

    def _series(self, mine: dict[str, Any], new: dict[str, Any]) -> None:
        limit = self.limits.series
        mine["out"] += new["out"]
        mine["shortest"] = min(mine["shortest"], new["shortest"])
        mine["longest"] = max(mine["longest"], new["longest"])
        mine["vanished"] = (mine["vanished"] + new["vanished"])[:limit]
        for value, other in ((mine[k], new[k]) for k in mine if isinstance(mine[k], dict)):
            value["count"] += other["count"]
            value["ids"] = (value["ids"] + other["ids"])[:limit]

    def _findings(self, mine: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
        limit = self.limits.positions
        by_code = {f["code"]: f for f in mine}
        for finding in new:
            own = by_code.get(finding["code"])
            if own is None:
                mine.append(finding)
                continue
            positions = own["positions"] + finding["positions"]
            for key in _SUMS:
                own[key] += finding[key]
            own["positions"] = positions[:limit]
            own["positions_left_out"] = own["count"] - len(own["positions"])
            own["columns"] = _added(own["columns"], finding["columns"])
            both = {**own["per_series"], **finding["per_series"]}
            ranked = sorted(both.items(), key=lambda item: -item[1])
            own["per_series"] = dict(ranked[: max(limit, 1)])

    def _frequency(self, mine: dict[str, Any], new: dict[str, Any]) -> None:
        steps = "series per step"
        if steps in mine["evidence"] and steps in new["evidence"]:
            mine["evidence"][steps] = _added(mine["evidence"][steps], new["evidence"][steps])
        others = [*mine.get("series", []), *new.get("series", [])]
        mine["series"] = sorted(others, key=lambda o: o["share_of_steps"])[: self.limits.series]


def _added(mine: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Numbers summed key by key, and in groups below."""
    out = dict(mine)
    for key, value in new.items():
        if isinstance(value, dict):
            out[key] = _added(out.get(key, {}), value)
        elif not isinstance(value, bool):
            out[key] = out.get(key, 0) + value
    return out
