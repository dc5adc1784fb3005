"""nginx by the files of deploy/nginx, with other names, ports and places."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.faults.serving.proxy import free_port, until_it_listens

FILES = Path(__file__).resolve().parents[2] / "deploy" / "nginx"
SHARED = ("nginx.conf", "upstream.conf", "routes.conf", "pass.conf")


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
    """The files of the Compose set-up in a folder; the first of them.

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
    # Debian 12's nginx looks names up when it starts only; addresses need none of it.
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
    """The program; the test is skipped where there is none."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if found is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    return found


class Proxy:
    """nginx before some replicas, from its start to its end."""

    def __init__(self, folder: Path, replicas: list[int], kind: str = "plain") -> None:
        self.port, self.tls = free_port(), free_port()
        listen = {"8080": f"127.0.0.1:{self.port}", "8443": f"127.0.0.1:{self.tls}"}
        file = placed(folder, kind, [f"127.0.0.1:{port}" for port in replicas], listen)
        self.folder = folder
        self.words = [nginx(), "-p", str(folder), "-c", str(file)]

    def __enter__(self) -> Proxy:
        user = " user root;" if os.geteuid() == 0 else ""
        self.process = subprocess.Popen(
            [*self.words, "-g", f"daemon off;{user}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until_it_listens(self.port)
        return self

    def reload(self) -> None:
        """Read files and certificates anew."""
        subprocess.run([*self.words, "-s", "reload"], check=True, capture_output=True)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
