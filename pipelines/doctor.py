"""`gatecast doctor`: is this machine ready, and if not, what to do about it.

Each check looks and repairs nothing. Only an essential one that fails makes the command fail:
a missing accelerator or a busy port is told, with the way out, and Gatecast works without.
"""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from forecasting.errors import GatecastError
from forecasting.masking import concealed, masked
from pipelines.machine.state import HOME_VARIABLE, cores, home, quiet
from pipelines.terminal.outcome import done

DISTRIBUTION = "gatecast"
PACKAGES = ("forecasting", "pipelines", "serving")
ROOT = Path(__file__).resolve().parent.parent  # of the sources, or site-packages
CONSTRAINTS = "constraints.txt"
DEVELOPER_EXTRAS = {"dev"}
SERVICE_PORT = 3000
GIB = 2**30
FREE_DISK_GIB = 2.0  # a training run, its artifacts and the service's copy of a model, with room
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SERVER_TIMEOUT_SECONDS = 3.0
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
# Distributions, and modules, that take seconds to load.
SLOW = ("torch", "onnxruntime", "mlflow", "bentoml")


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes
    ----------
    name
        What was looked at.
    ok
        Whether it is as it should be.
    found
        What is there, for a person.
    fix
        What to do; empty when nothing is to be done.
    essential
        Whether Gatecast cannot work while this is not ok.
    """

    name: str
    ok: bool
    found: str
    fix: str = ""
    essential: bool = True


def run_doctor(*, port: int = SERVICE_PORT, thorough: bool = False) -> list[Check]:
    """Look at everything Gatecast needs.

    Parameters
    ----------
    port
        Where the service would listen.
    thorough
        Whether what takes seconds to load is loaded, too.

    Returns
    -------
    list of Check
        In the order of the table; a check that breaks is itself reported as failed.
    """
    quiet()
    steps: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("names", check_names),
        ("optional packages", check_extras),
        ("device", check_device),
        ("processor", check_processor),
        ("state folder", check_state),
        ("tracking store", check_tracking),
        ("scheduler", check_scheduler),
        ("service port", lambda: check_port(port)),
        ("shared data", check_data),
    ]
    if thorough:
        steps += [(name, partial(check_loads, name)) for name in SLOW if _version(name)]
    checks: list[Check] = []
    for name, step in steps:
        try:
            checks.extend(step())
        except Exception as error:  # one broken corner must not hide the other findings
            checks.append(Check(name, False, f"{type(error).__name__}: {error}", "see the message"))
    return checks


def main(port: int = SERVICE_PORT, *, thorough: bool = False) -> int:
    """Print the table of checks; 0 when nothing essential is missing, else 1."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    checks = run_doctor(port=port, thorough=thorough)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "check", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        mark = "ok" if check.ok else ("MISSING" if check.essential else "note")
        style = "green" if check.ok else ("red" if check.essential else "yellow")
        # As Text: a path or an extra in square brackets is no markup.
        table.add_row(Text(mark, style), Text(check.name), Text(check.found), Text(check.fix))
    console = Console()
    console.print(table)
    missing = [check.name for check in checks if check.essential and not check.ok]
    lean = not _version("torch")
    start = ["gatecast serve --model NAME"] if lean else ["gatecast demo", "gatecast init TABLE"]
    done({"ready": not missing, "checks": checks}, following=[] if missing else start)
    if missing:
        console.print(Text(f"Not ready: {', '.join(missing)}.", "red"))
        return 1
    console.print("Ready.")
    return 0


def check_python() -> list[Check]:
    """The interpreter against the range the distribution names."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    specifier = metadata.metadata(DISTRIBUTION)["Requires-Python"] if _installed() else ""
    ok = SpecifierSet(specifier).contains(version)
    fix = "" if ok else f"make the environment anew with Python {specifier}"
    return [Check("python", ok, f"{version} in {sys.prefix}", fix)]


def check_packages() -> list[Check]:
    """Every required distribution: installed, and in the range this release was made for."""
    if not _installed():
        return [Check(DISTRIBUTION, False, "not installed", _install(f"-e {_source() or '.'}"))]
    needs = [need for need, extra in _requirements() if extra is None]
    wrong = [problem for need in needs if (problem := _problem(need)) is not None]
    good = len(needs) - len(wrong)
    summary = f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}, {good} of {len(needs)} in range"
    return [Check("packages", not wrong, summary), *wrong]


def check_names() -> list[Check]:
    """Files and folders here that Python would take for this package's own."""
    here = Path.cwd()
    if here == ROOT:
        return [Check("names", True, "in the folder of the sources", "", False)]
    names = [
        path.name
        for name in PACKAGES
        for path in (here / name, here / f"{name}.py")
        if path.is_dir() or path.is_file()
    ]
    if not names:
        return [Check("names", True, "nothing here bears a name of ours", "", False)]
    return [
        Check(
            "names",
            False,
            f"{', '.join(names)} in {here}",
            "rename it: a Python started in this folder imports it instead of Gatecast's own",
            False,
        )
    ]


def check_extras() -> list[Check]:
    """Groups that only some commands need."""
    if not _installed():
        return []
    groups: dict[str, list[Requirement]] = {}
    for need, extra in _requirements():
        if extra is not None and extra not in DEVELOPER_EXTRAS:
            groups.setdefault(extra, []).append(need)
    checks = []
    for extra, needs in sorted(groups.items()):
        wrong = [problem for need in needs if (problem := _problem(need)) is not None]
        versions = ", ".join(f"{p.name} {p.found}" for p in wrong) or ", ".join(
            f"{need.name} {metadata.version(need.name)}" for need in needs
        )
        fix = f"{_install(_group(extra))} if you want it"
        checks.append(Check(f"extra: {extra}", not wrong, versions, fix if wrong else "", False))
    return checks


def check_device() -> list[Check]:
    """What torch would train on; it is loaded only where there may be a GPU to ask it for."""
    if not NVIDIA_DRIVER.exists() and "torch" not in sys.modules:
        try:
            device = f"CPU; torch {metadata.version('torch')}"
        except metadata.PackageNotFoundError:
            return [_no_torch("torch is not installed: models are served and asked, not trained")]
        return [Check("device", True, device, essential=False)]
    try:
        import torch
    except ModuleNotFoundError:
        return [_no_torch("torch is not installed")]
    except (ImportError, OSError) as error:
        return [Check("device", False, f"torch does not load: {error}", "install torch again")]
    build = f"torch {torch.__version__}"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        device = ", ".join(f"{each.name} ({each.total_memory / GIB:.0f} GiB)" for each in names)
        return [Check("device", True, f"{device}; {build}", essential=False)]
    if NVIDIA_DRIVER.exists():
        fix = "install a torch build for this driver's CUDA version to train on the GPU"
        return [Check("device", False, f"CPU; {build} does not see the GPU", fix, False)]
    return [Check("device", True, f"CPU; {build}", essential=False)]


def _no_torch(found: str) -> Check:
    return Check("device", False, found, f"{_install(_group('train'))} to train", False)


def check_loads(distribution: str) -> list[Check]:
    """Whether a slow package is not only there, but loads."""
    try:
        importlib.import_module(distribution)
    except Exception as error:  # a broken package breaks in any way
        problem = f"does not load: {type(error).__name__}: {error}"
        return [Check(distribution, False, problem, f"install {distribution} again")]
    return [Check(distribution, True, f"{metadata.version(distribution)} loads")]


def check_processor() -> list[Check]:
    """Cores this process may use, and whether more threads than that were asked for."""
    count = cores()
    threads = {name: os.environ[name] for name in THREAD_VARIABLES if os.environ.get(name)}
    over = {name: value for name, value in threads.items() if _number(value) > count}
    listed = ", ".join(f"{name}={value}" for name, value in threads.items())
    text = f"{count} cores" + (f", {listed}" if listed else "")
    fix = f"set {', '.join(over)} to at most {count}" if over else ""
    return [Check("processor", not over, text, fix, False)]


def check_state() -> list[Check]:
    """The folder of all local state: writable, on a disk with room."""
    try:
        folder = home()
        # A trial is the only sure answer: mount options and quotas do not show in the mode.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"gatecast")
    except GatecastError as error:
        return [Check("state folder", False, str(error), f"set {HOME_VARIABLE} to another folder")]
    except OSError as error:
        fix = f"give yourself write permission, or set {HOME_VARIABLE} to another folder"
        return [Check("state folder", False, f"{folder}: {error.strerror}", fix)]
    free = shutil.disk_usage(folder).free / GIB
    room = free >= FREE_DISK_GIB
    fix = "" if room else f"free at least {FREE_DISK_GIB:.0f} GiB or set {HOME_VARIABLE} elsewhere"
    return [
        Check("state folder", True, f"{folder} is writable"),
        Check("disk space", room, f"{free:.1f} GiB free", fix),
    ]


def check_tracking() -> list[Check]:
    """The MLflow store: reachable, and its tables as this MLflow expects them."""
    from pipelines.tracking.store import StoreVersionError, connect, default_uri

    uri = default_uri()
    address = masked(uri)
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///")).expanduser()
        if not file.exists():
            return [Check("tracking store", True, f"{address} (the first training makes it)")]
        if not _is_sqlite(file):
            fix = "move that file away, or set MLFLOW_TRACKING_URI to another store"
            return [Check("tracking store", False, f"{file} is no SQLite database", fix)]
    try:
        connect(uri)
    except StoreVersionError as error:
        fix = f"back the database up, then run `mlflow db upgrade {address}`"
        return [Check("tracking store", False, masked(str(error)), fix)]
    except ModuleNotFoundError as error:
        problem = f"{address}: {error.name} is not installed, so only the service can read it"
        fix = f"{_install(_group('pipelines'))} if you want it"
        return [Check("tracking store", False, problem, fix, False)]
    except GatecastError as error:
        fix = "start the server, or set MLFLOW_TRACKING_URI to a store that answers"
        return [Check("tracking store", False, masked(str(error)), fix)]
    return [Check("tracking store", True, f"{address} answers")]


def check_scheduler() -> list[Check]:
    """Prefect, where it is installed and a server is named."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return [Check("scheduler", True, "no server named (PREFECT_API_URL)", "", False)]
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=SERVER_TIMEOUT_SECONDS)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fix = "start it with `prefect server start`, or correct PREFECT_API_URL"
        return [Check("scheduler", False, concealed(f"{url}: {error}", url), fix, False)]
    return [Check("scheduler", True, f"{masked(url)} answers", "", False)]


def check_port(port: int = SERVICE_PORT) -> list[Check]:
    """Whether the service could listen."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port that was closed a moment ago counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = "in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
            fix = f"stop what listens there, or run `gatecast serve --port {port + 1}`"
            return [Check("service port", False, f"{port} is {reason}", fix, False)]
    return [Check("service port", True, f"{port} is free", "", False)]


def check_data() -> list[Check]:
    """The optional folder of further data sets."""
    named = os.environ.get("GATECAST_DATA")
    if not named:
        return [
            Check("shared data", True, "not named (GATECAST_DATA); nothing needs it", "", False)
        ]
    if not Path(named).is_dir():
        fix = "set GATECAST_DATA to a folder that exists, or unset it"
        return [Check("shared data", False, f"no such folder: {named}", fix, False)]
    return [Check("shared data", True, named, "", False)]


def _installed() -> bool:
    try:
        metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return False
    return True


def _requirements() -> list[tuple[Requirement, str | None]]:
    """Every requirement that applies here, with the extra that asks for it."""
    extras = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    requirements: list[tuple[Requirement, str | None]] = []
    for text in metadata.requires(DISTRIBUTION) or []:
        need = Requirement(text)
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            requirements.append((need, None))
            continue
        requirements.extend(
            (need, name) for name in extras if need.marker.evaluate({"extra": name})
        )
    return [(need, extra) for need, extra in requirements if need.name != DISTRIBUTION]


def _version(name: str) -> str:
    """Of a distribution; empty where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _problem(need: Requirement) -> Check | None:
    """A failed check when a distribution is missing or outside its range."""
    version = _version(need.name)
    if version and need.specifier.contains(version, prereleases=True):
        return None
    requirement = f"{need.name}{need.specifier}"
    return Check(need.name, False, version or "not installed", _install(f'"{requirement}"'))


def _source() -> Path | None:
    """The folder of the sources when that is what is installed; None for a wheel."""
    return ROOT if (ROOT / CONSTRAINTS).is_file() else None


def _group(extra: str) -> str:
    return f'-e ".[{extra}]"' if _source() else f'"{DISTRIBUTION}[{extra}]"'


def _install(wanted: str) -> str:
    """How to install something, by files that are there: a wheel brings no constraints."""
    constraints = f"-c {CONSTRAINTS} " if _source() else ""
    return f"run `pip install {constraints}{wanted}`"


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _is_sqlite(file: Path) -> bool:
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return True
