"""Runs the explorer's modules outside its page: in Node, else in Chromium."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium, executable
from tests.serving.process import ROOT

MODULES = ("calendar", "table", "series", "request", "chart", "whole")
FOLDER = ROOT / "serving" / "web" / "explorer"


def javascript(code: str, given: Any = None) -> Any:
    """What a function's body returns that has the modules by their names, and ``given``.

    An error is thrown as it was, but for those of tables: ``{"message", "cure", "control"}``.
    """
    body = f"""async (base, given) => {{
      const load = name => import(base + name + ".js");
      const [{", ".join(MODULES)}] = await Promise.all({json.dumps(MODULES)}.map(load));
      const attempt = work => {{
        try {{ return work(); }} catch (error) {{
          if (!(error instanceof table.TableError)) throw error;
          return {{message: error.message, cure: error.cure, control: error.control}};
        }}
      }};
      {code}
    }}"""
    if shutil.which("node"):
        return _in_node(body, given)
    if executable():
        return _in_chromium(body, given)
    pytest.skip("neither node nor Chromium on this machine")


def _in_node(body: str, given: Any) -> Any:
    program = f"""
      const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
      ({body})("file://" + process.cwd() + "/", given)
        .then(found => process.stdout.write(JSON.stringify(found ?? null)))
        .catch(error => {{ console.error(error); process.exit(1); }});
    """
    with tempfile.TemporaryDirectory() as folder:
        for module in FOLDER.glob("*.js"):
            shutil.copy(module, folder)
        # Without it Node takes files of this ending for another kind of module.
        (Path(folder) / "package.json").write_text('{"type": "module"}')
        done = subprocess.run(
            ["node", "-e", program], cwd=folder, input=json.dumps(given),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _in_chromium(body: str, given: Any) -> Any:
    handler = functools.partial(_Quiet, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with chromium() as page:
                base = f"http://127.0.0.1:{server.server_port}/"
                page.open(f"{base}icon.svg")
                return page.run(f"({body})({json.dumps(base)}, {json.dumps(given)})")
        finally:
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""
