"""How a task is told to a worker, what the worker does with it, and how its answer is heard.

A worker is sent a call and answers with messages: rows, warnings, files, and at last the answer or
the error. All of these are parcels.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from forecasting import errors
from forecasting.data.panel import Panel
from forecasting.errors import GatecastError, MissingGroupError
from pipelines.machine.lineage import versions
from pipelines.machine.say import Say
from pipelines.machine.state import CORES_VARIABLE, quiet
from pipelines.spread.panels import panel_bytes, panel_of
from pipelines.spread.parcel import pack, unpack
from pipelines.spread.task import Hand, Task, work_named

PANEL, FOLDER = b"P", b"F"
RETRIES = 3  # of a task whose worker was lost
HELD = 2  # shared things that a worker keeps from one task to the next
CATEGORIES = {"RuntimeWarning": RuntimeWarning, "UserWarning": UserWarning}


class LostError(Exception):
    """A worker ended before its task did."""


class ClosedError(Exception):
    """A place was closed while a task was done, whose answer nobody wants any more."""


class AllLostError(GatecastError):
    """Every worker that a task was given to was lost: no fault of what was asked for."""


class Retrying:
    """A place whose workers may be lost: another goes on from what the one before had kept.

    A place says how a worker does a task (`_done`, which raises `LostError`).

    Attributes
    ----------
    retries : how often a task is given to another worker. say : is told of each that was lost.
    """

    advice: ClassVar[str]  # what to do where all were lost
    retries: int
    say: Say
    _closed = False

    def do(self, task: Task) -> dict[str, Any]:
        """Does a task; `AllLostError` once every worker that it was given to was lost."""
        for more in range(self.retries, -1, -1):
            try:
                return self._done(task)
            except LostError as lost:
                if self._closed:
                    raise ClosedError(task.name) from None
                if more:
                    why = f" ({lost})" if str(lost) else ""
                    self.say(f"{task.name}: its worker was lost{why}; another goes on with it")
                    self._lost(task)
        raise AllLostError(
            f"{task.name}: {self.retries + 1} workers that did it were lost{self.advice}"
        )

    def _done(self, task: Task) -> dict[str, Any]:
        raise NotImplementedError

    def _lost(self, task: Task) -> None:
        """What is to be done before a task whose worker was lost is begun again."""


class Packed(NamedTuple):
    """Something shared, by a name of its content."""

    key: str
    data: bytes


def packed(value: Panel | Path) -> Packed:
    """A panel, or the files below a folder, as bytes."""
    data = FOLDER + pack(_files(value)) if isinstance(value, Path) else PANEL + panel_bytes(value)
    return Packed(hashlib.blake2b(data, digest_size=16).hexdigest(), data)


def call_of(task: Task, keys: Sequence[str], *, threads: int, gpus: float = 0.0) -> bytes:
    """What a worker is sent of a task, with what was kept of an earlier try."""
    files = {} if task.kept is None else _files(task.kept)
    return pack(
        {
            "name": task.name,
            "work": task.work,
            "parcel": pack(task.parcel),
            "keys": list(keys),
            "out": task.out is not None,
            "kept": None if task.kept is None else pack(files),
            "threads": threads,
            "gpus": gpus,
            "versions": _versions(),
        }
    )


@dataclass
class Listener:
    """Hears a worker's messages on the side of who asks.

    Attributes
    ----------
    ended : whether the answer, or the error, has come.
    """

    task: Task
    ended: bool = False

    def hear(self, message: bytes) -> dict[str, Any] | None:
        """Does what a message says; gives the answer once it comes."""
        values = unpack(message)
        kind = values.pop("kind")
        self.ended = kind in ("answer", "error")
        if kind == "row":
            self.task.tell(values["row"])
        elif kind == "warning":
            warnings.warn(values["text"], CATEGORIES.get(values["category"], UserWarning), 4)
        elif kind == "file":
            folder = self.task.out if values["where"] == "out" else self.task.kept
            if folder is not None:
                _put(folder, values["name"], values["body"])
        elif kind == "error":
            raise _error(values)
        else:
            return dict(unpack(values["answer"]))
        return None


@dataclass
class Worker:
    """Does what calls say, one after the other.

    Attributes
    ----------
    scratch : a folder of the worker's own.
    """

    scratch: Path
    shared: OrderedDict[str, Any] = field(default_factory=OrderedDict)

    def carry_out(
        self, call: bytes, shared: Sequence[Callable[[], bytes]], send: Callable[[bytes], None]
    ) -> None:
        """Does one call, and sends what comes of it.

        Parameters
        ----------
        shared : what gives the bytes of each shared thing, asked where it is not there yet.
        """
        try:
            values = unpack(call)
            _settle(values)
            things = [self._thing(k, get) for k, get in zip(values["keys"], shared, strict=True)]
            with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
                sender = _Sender(send, Path(folder))
                answer = sender.work(values, things)
            send(pack({"kind": "answer", "answer": pack(answer)}))
        except Exception as error:
            send(pack({"kind": "error", **_told(error)}))

    def _thing(self, key: str, get: Callable[[], bytes]) -> Any:
        if key not in self.shared:
            while len(self.shared) >= HELD:
                self.shared.popitem(last=False)
            self.shared[key] = self._opened(key, get())
        self.shared.move_to_end(key)
        return self.shared[key]

    def _opened(self, key: str, data: bytes) -> Any:
        if data[:1] == PANEL:
            return panel_of(data[1:])
        folder = self.scratch / key
        for name, body in unpack(data[1:]).items():
            _put(folder, name, body)
        return folder


class _Sender:
    """What work tells and makes, as messages."""

    def __init__(self, send: Callable[[bytes], None], folder: Path) -> None:
        self.send = send
        self.out, self.kept = folder / "out", folder / "kept"
        self.sent: dict[str, int] = {}
        self.keeps = False

    def work(self, values: Mapping[str, Any], shared: Sequence[Any]) -> dict[str, Any]:
        """The answer of the work of a call; its files were sent before."""
        out, self.keeps = self.out if values["out"] else None, values["kept"] is not None
        if out is not None:
            out.mkdir()
        if self.keeps:
            for name, body in unpack(values["kept"]).items():
                _put(self.kept, name, body)
            self.sent = {p.name: p.stat().st_mtime_ns for p in _whole(self.kept)}
        hand = Hand(self.tell, out, self.kept if self.keeps else None)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            warnings.simplefilter("always", RuntimeWarning)
            try:
                answer = work_named(values["work"])(unpack(values["parcel"]), shared, hand)
            finally:
                for one in warned:
                    if one.category.__name__ in CATEGORIES:
                        text, category = str(one.message), one.category.__name__
                        self.send(pack({"kind": "warning", "text": text, "category": category}))
        for name, body in _files(self.out).items():
            self.send(pack({"kind": "file", "where": "out", "name": name, "body": body}))
        return answer

    def tell(self, row: dict[str, Any]) -> None:
        """Sends a row, and what was newly kept before it."""
        self._send_kept()
        self.send(pack({"kind": "row", "row": row}))

    def _send_kept(self) -> None:
        for path in _whole(self.kept) if self.keeps else ():
            stamp = path.stat().st_mtime_ns
            if self.sent.get(path.name) != stamp:
                body = path.read_bytes()
                self.send(pack({"kind": "file", "where": "kept", "name": path.name, "body": body}))
                self.sent[path.name] = stamp


def _settle(values: Mapping[str, Any]) -> None:
    """Gives this process the threads it was told, before what counts them is loaded."""
    theirs, own = values["versions"], _versions()
    if theirs != own:
        raise GatecastError(
            f"a worker on {os.uname().nodename} has {own}, who asks has {theirs}: install the "
            "same versions on every machine"
        )
    quiet()
    threads = str(values["threads"])
    os.environ["OMP_NUM_THREADS"] = os.environ[CORES_VARIABLE] = threads
    if not values["gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import pyarrow as pa

    pa.set_cpu_count(values["threads"])
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(values["threads"])


@cache
def _versions() -> str:
    """Of what decides the weights, whatever device torch was built for."""
    return re.sub(r"\+[a-z0-9.]+", "", versions())


def _told(error: BaseException) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "ours": isinstance(error, GatecastError),
        "text": str(error),
        "group": getattr(error, "group", None),
        "trace": traceback.format_exc(),
    }


def _error(told: Mapping[str, Any]) -> Exception:
    """The error a worker tells of: one that a user can mend as it was, others with their trace."""
    kind = getattr(errors, told["class"], GatecastError)
    if kind is MissingGroupError:
        return MissingGroupError(told["group"], told["text"])
    if told["ours"] and isinstance(kind, type) and issubclass(kind, GatecastError):
        return kind(told["text"])
    return RuntimeError(f"{told['class']}: {told['text']}\nin a worker:\n{told['trace']}")


def _whole(folder: Path) -> list[Path]:
    """Files right in a folder that are not being written."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".part")


def _files(folder: Path) -> dict[str, bytes]:
    """Files below a folder, by their relative paths."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".part")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def _put(folder: Path, name: str, body: bytes) -> None:
    target = folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise GatecastError(f"a worker sent a file {name!r}, which lies outside its folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.part")
    half.write_bytes(body)
    half.replace(target)
