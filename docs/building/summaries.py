"""Writes the one-screen summary of docs/accuracy.md from the tables below it.

python -m docs.building.summaries
"""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "accuracy.md"
BEGIN, END = "<!-- short:begin -->", "<!-- short:end -->"
OURS = ("chosen", "LSTM", "GRU", "other seed")
NAIVE = "seasonal naive"


def tables(text: str) -> dict[str, dict[str, dict[str, str]]]:
    """The tables of the page: set, model, column, cell."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for title, body in re.findall(r"^#### (\S+)\n\n(.*?)(?=\n\n|\Z)", text, re.M | re.S):
        head, _, *rows = [line.strip("| ").split(" | ") for line in body.splitlines()]
        names = [name.strip() for name in head]
        found[title] = {
            row[0].strip(): dict(zip(names[1:], map(str.strip, row[1:]), strict=False))
            for row in ([*r, *[""] * len(names)] for r in rows)
        }
    return found


def summary(text: str) -> str:
    """A row per set: MASE of what the rules choose, of the best peer of that run, of repeating."""
    lines = [
        "| set | chosen by rule | best peer of the run | which | seasonal naive | in 80 % |",
        "|---|---:|---:|---|---:|---:|",
    ]
    won = count = 0
    for name, models in tables(text).items():
        ours = models.get("chosen", {}).get("MASE", "")
        peers = {
            model: float(row["MASE"])
            for model, row in models.items()
            if model not in (*OURS, NAIVE) and "(published)" not in model and row.get("MASE")
        }
        if not ours or not peers:
            continue
        best = min(peers, key=lambda model: peers[model])
        count, won = count + 1, won + (float(ours) <= peers[best])
        naive = models.get(NAIVE, {}).get("MASE", "")
        inside = models["chosen"].get("in 80 %", "")
        cells = (name, ours, f"{peers[best]:.3f}", best, naive, inside)
        lines.append("| " + " | ".join(cells) + " |")
    said = f"Better than the best peer of the run, or equal, on {won} of {count} sets by MASE."
    lines += ["", said]
    return "\n".join(lines)


def main() -> None:
    """Write the summary into the page."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n{summary(text)}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
