"""A real nginx before the service, as docs/serving.md advises: it buffers what comes slowly."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest


def until_it_listens(port: int, seconds: float = 20.0) -> None:
    """Wait for a server on loopback."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < end, f"nothing listens on port {port}"
            time.sleep(0.02)


# A request that a backend did not answer goes to the next one, which a forecast, that changes
# nothing, may; and none is left out for a while, or one failure of each would leave nobody.
CONFIG = """
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 32m;
  upstream service {{
    {servers}
    keepalive 32;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_next_upstream error timeout http_503 non_idempotent;
      proxy_next_upstream_tries 4;
    }}
  }}
}}
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nginx:
    """From its start to its end; the test is skipped where there is none."""

    def __init__(self, folder: Path, *backends: int) -> None:
        self.program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if self.program is None:
            pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        servers = "\n    ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in backends)
        user = "user root;\n" if os.geteuid() == 0 else ""
        text = CONFIG.format(folder=folder, port=self.port, servers=servers, user=user)
        (folder / "nginx.conf").write_text(text)

    def __enter__(self) -> Nginx:
        assert self.program is not None
        words = [self.program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        self.process = subprocess.Popen(
            [*words, "-g", "daemon off;"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until_it_listens(self.port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.process.terminate()
        self.process.wait(20)
