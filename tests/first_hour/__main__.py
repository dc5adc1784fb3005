"""Play the hour and write its table and picture into docs/first-hour.md."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.first_hour.hour import PAGE, PICTURE, play

TEXT = """\
# The first hour

What somebody meets who installs Gatecast and has five tables of their own. A program plays it
(`make first-hour`): a wheel built from the sources, a new environment, a folder with nothing of
them, and five made-up tables of kinds that Gatecast's own examples do not use
([tables.py](../tests/first_hour/tables.py)). Trainings are cut short, as what is tried is the way
and not the forecast, so the gate may well refuse one; the times are of the machine it ran on, with
whatever else ran there.

{table}
![The explorer with one of the tables dropped into it](images/first-hour.png)
"""


def main() -> None:
    """Into a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="first-hour-") as folder:
        table = play(Path(folder), PICTURE).table()
    PAGE.write_text(TEXT.format(table=table), encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
