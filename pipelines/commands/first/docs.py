"""``gatecast docs``: the pages, opened in a browser, or one entry in the terminal."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path

import typer

from forecasting.errors import ConfigError
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.screen import has_screen

FOLDER_VARIABLE = "GATECAST_DOCS"
BUILT = Path(__file__).resolve().parents[3] / "build" / "docs"


def register(app: typer.Typer) -> None:
    """Add ``docs``."""
    app.command("docs")(docs_command)


def docs_command(
    code: str | None = typer.Argument(
        None, metavar="[CODE]", help="An error's code, such as missing_future_covariate."
    ),
    folder: Path | None = typer.Option(
        None, "--folder", help=f"The built pages; default: {FOLDER_VARIABLE}, else build/docs/."
    ),
    show: bool | None = typer.Option(
        None, "--open/--no-open", help="Open a browser; default: where there is a screen."
    ),
) -> None:
    """Open the pages that `make docs` has built, or say what an error's code means.

    Examples: `gatecast docs`, `gatecast docs missing_future_covariate`
    """
    from pipelines.terminal.codes import KINDS, entries, nearest

    if code is not None:
        codes = entries(code)
        if not codes:
            raise ConfigError(f"no error has the code {code!r}{nearest(code)}")
        for entry in codes:
            print(f"{code} ({KINDS[entry.kind].lower()}): {entry.means}\n  {entry.cure}")
        done({"code": code, "entries": codes})
        return
    at = folder or Path(os.environ.get(FOLDER_VARIABLE, "") or BUILT)
    index = at / "index.html"
    if not index.is_file():
        raise ConfigError(
            f"no built pages in {at}: `make docs` in the sources builds them; --folder or "
            f"{FOLDER_VARIABLE} names another folder, and docs/*.md hold the same text"
        )
    address = index.resolve().as_uri()
    print(address)
    done({"address": address})
    if has_screen() if show is None else show:
        webbrowser.open(address)
    else:
        tell("open that address in a browser")
