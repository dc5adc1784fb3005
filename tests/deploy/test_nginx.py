"""nginx's files, by nginx; tests/stack sends requests through them."""

from __future__ import annotations

import re
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tests.faults.serving.proxy import free_port
from tests.stack.proxy import FILES, Proxy, certificate, nginx, placed

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_nginx_takes_the_files(tmp_path: Path, kind: str) -> None:
    certificate(tmp_path / "certificates")
    replicas = ["127.0.0.1:3001", "127.0.0.1:3002"]
    file = placed(tmp_path, kind, replicas, {"8080": "127.0.0.1:8080", "8443": "127.0.0.1:8443"})
    run = subprocess.run(
        [nginx(), "-t", "-q", "-p", str(tmp_path), "-c", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "warn" not in run.stderr


def test_an_expired_certificate_is_refused_by_callers_until_it_is_renewed(tmp_path: Path) -> None:
    certificates = tmp_path / "certificates"
    certificate(certificates, days=-1)
    with Proxy(tmp_path, [3001, 3002], "tls") as proxy:

        def ask() -> str:
            trusted = ssl.create_default_context(cafile=str(certificates / "chain.pem"))
            with httpx.Client(verify=trusted, trust_env=False) as client:
                answer = client.get(f"https://localhost:{proxy.tls}/proxyz")
            assert "max-age" in answer.headers["strict-transport-security"]
            return answer.text

        with pytest.raises(httpx.ConnectError, match="expired"):
            ask()
        certificate(certificates)
        proxy.reload()
        end = time.monotonic() + 20
        while True:
            try:
                assert ask() == "up\n"
                break
            except httpx.ConnectError:
                # The former processes answer until the new ones have begun.
                assert time.monotonic() < end
                time.sleep(0.05)
        # Where TLS is, the plain port says nothing but that nginx is up.
        plain = f"http://127.0.0.1:{proxy.port}"
        assert httpx.get(f"{plain}/proxyz", trust_env=False).status_code == 200
        assert httpx.get(f"{plain}/readyz", trust_env=False).status_code == 404


def test_replicas_that_are_all_away_are_told_at_once(tmp_path: Path) -> None:
    with Proxy(tmp_path, [free_port(), free_port()]) as proxy:
        answer = httpx.post(
            f"http://127.0.0.1:{proxy.port}/v1/forecast", json={}, trust_env=False, timeout=10
        )
        assert answer.status_code == 502


def test_what_is_mounted_is_what_is_included() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    included = set(
        re.findall(r"include (\w+\.conf);", "".join(f.read_text() for f in FILES.glob("*.conf")))
    )
    for name, kind in (("proxy", "plain"), ("proxy-tls", "tls")):
        pairs = [mount.split(":")[:2] for mount in services[name]["volumes"] if "conf" in mount]
        mounted = {Path(target).name: Path(source).name for source, target in pairs}
        assert included | {"nginx.conf"} == set(mounted)
        assert mounted["listen.conf"] == f"{kind}.conf"
    listening = re.findall(r"listen (\d+)", (FILES / "tls.conf").read_text())
    assert services["proxy-tls"]["ports"][0].rpartition(":")[2] in listening
    assert services["proxy"]["ports"][0].rpartition(":")[2] in (FILES / "plain.conf").read_text()
    upstream = re.findall(r"server ([\w-]+):3000", (FILES / "upstream.conf").read_text())
    assert upstream == ["service-a", "service-b"]


def test_a_body_may_be_as_long_as_the_service_takes() -> None:
    from serving.settings import MIB, ServingSettings

    limit = re.search(r"client_max_body_size (\d+)m;", (FILES / "nginx.conf").read_text())
    assert limit is not None
    assert int(limit[1]) * MIB == ServingSettings().max_body
