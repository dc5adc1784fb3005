"""nginx's files, by nginx; tests/stack sends requests through them."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "deploy" / "nginx"
SHARED = ("nginx.conf", "upstream.conf", "routes.conf", "pass.conf")
OLD = "1.22"  # Debian 12's; an upstream's names are looked up anew from 1.27.3 on


def certificate(folder: Path, *, days: float = 30.0, name: str = "localhost") -> None:
    """chain.pem and key.pem of a name, signed by itself, for so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=60))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def placed(folder: Path, kind: str, replicas: list[str], listen: dict[str, str]) -> Path:
    """The files of the Compose set-up in a folder, with other places, names and ports.

    Parameters
    ----------
    kind : ``plain`` or ``tls``.
    listen : ports of the files → ``address:port`` here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    for name in SHARED:
        shutil.copy(FILES / name, folder / name)
    shutil.copy(FILES / f"{kind}.conf", folder / "listen.conf")
    names = iter(replicas)
    upstream = (folder / "upstream.conf").read_text()
    upstream = re.sub(
        r"server \S+ max_fails=0 resolve;", lambda _: f"server {next(names)} max_fails=0;", upstream
    )
    (folder / "upstream.conf").write_text(re.sub(r"^resolver .*\n", "", upstream, flags=re.M))
    for file in folder.glob("*.conf"):
        text = file.read_text().replace("/tmp/", f"{folder}/tmp/")
        text = text.replace("/dev/stderr", f"{folder}/error.log")
        text = text.replace("/dev/stdout", f"{folder}/access.log")
        text = text.replace("/run/certificates", str(folder / "certificates"))
        for port, here in listen.items():
            text = text.replace(f"listen {port} ", f"listen {here} ")
        file.write_text(text)
    return folder / "nginx.conf"


def nginx() -> str:
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if found is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    return found


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
