"""A real PostgreSQL server of a test's own, where its programs are installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.faults.serving.proxy import free_port


def _program(name: str) -> str | None:
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(places[-1]) if places else None)


class Postgres:
    """A server on the loopback address, in a folder that goes with it.

    Parameters
    ----------
    password : of the user; None lets everybody on this machine in by any.
    """

    def __init__(self, user: str = "tester", password: str | None = None) -> None:
        self.user, self.password, self.port = user, password, free_port()
        initdb, control = _program("initdb"), _program("pg_ctl")
        if not (initdb and control):
            pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
        self.initdb, self.control = initdb, control
        # PostgreSQL does not run as root: then the account of its package is taken.
        self.account = "postgres" if os.getuid() == 0 else None
        if self.account is not None:
            try:
                pwd.getpwnam(self.account)
            except KeyError:
                pytest.skip("running as root, and there is no account postgres to run a server")

    def __enter__(self) -> Postgres:
        self._folder = tempfile.TemporaryDirectory(prefix="pg-")
        os.chmod(self._folder.name, 0o755)
        self.home = Path(self._folder.name) / "home"
        self.home.mkdir()
        secret = self.home / "password"
        secret.write_text(self.password or "anything")
        if self.account is not None:
            shutil.chown(self.home, self.account)
            shutil.chown(secret, self.account)
        way = "trust" if self.password is None else "scram-sha-256"
        words = ("-U", self.user, f"--auth={way}", f"--pwfile={secret}", "--no-sync")
        self._run(self.initdb, "-D", str(self.home / "data"), *words)
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self.home}"
        options += " -c max_connections=200"
        self._run(self.control, "-D", str(self.home / "data"), "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: who is connected is cut off; ``immediate`` as by a loss of power."""
        self._run(self.control, "-D", str(self.home / "data"), "-m", mode, "-w", "stop")

    def url(self, database: str = "postgres") -> str:
        """Where a database is, for its superuser."""
        return (
            f"postgresql://{self.user}:{self.password or 'anything'}@127.0.0.1:{self.port}/"
            f"{database}"
        )

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            self.stop("immediate")
        self._folder.cleanup()

    def _run(self, *command: str) -> None:
        subprocess.run(
            command, check=True, user=self.account, cwd=self.home, timeout=60,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
