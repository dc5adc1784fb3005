"""Processes started for the user are up when they are needed and gone afterwards."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forecasting.errors import GatecastError
from pipelines.demo.processes import STOP_SECONDS, command, free_port, pick_port, running
from serving.__main__ import GRACE_SECONDS

SLOW_TO_STOP = """
import http.server, signal, sys, threading, time
def end(*_):
    time.sleep(0.5)
    print("drained", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def test_a_service_that_finishes_its_requests_is_waited_for(state: Path) -> None:
    assert STOP_SECONDS > GRACE_SECONDS
    port = pick_port("127.0.0.1", 0)
    line = [sys.executable, "-c", SLOW_TO_STOP, str(port)]
    with running(line, f"http://127.0.0.1:{port}/", name="patient") as process:
        assert process.poll() is None
        assert not free_port("127.0.0.1", port)
        assert pick_port("127.0.0.1", port) != port
    assert process.returncode == 0
    assert "drained" in (state / "logs" / "patient.log").read_text()
    assert free_port("127.0.0.1", port)


def test_one_that_dies_at_its_start_is_told_with_its_last_line(state: Path) -> None:
    line = [sys.executable, "-c", "raise SystemExit('no model is champion')"]
    with (
        pytest.raises(GatecastError, match=r"no model is champion \(log: .*dead\.log\)"),
        running(line, "http://127.0.0.1:1/", name="dead"),
    ):
        raise AssertionError("it is not up")


def test_what_is_left_out_on_the_command_line_is_left_to_the_services_variables() -> None:
    assert command(["a", "b"])[1:] == ["-m", "serving", "--model", "a", "--model", "b"]
    assert command(["a"], port=0, workers=2)[5:] == ["--port", "0", "--workers", "2"]
