"""Who made a bundle: ed25519 signatures, and the ring of public keys that are trusted.

The hash of a bundle stands in the registry that it comes from, so whoever may write there may write
both. A signature is made by a private key that the registry's machine does not hold; what it says
(a `Claim`) names the manifest's hash, which in turn holds the hash of every file.

A ring is a folder with ``ID.pub`` for each key and ``ID.revoked`` for each that is trusted no more.
The marks of revocation are files of their own: copying an older ring over a newer one brings no key
back. No torch here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from forecasting.errors import ConfigError, SignatureError

KEY_VARIABLE: Final = "GATECAST_SIGNING_KEY"
RING_VARIABLE: Final = "GATECAST_KEY_RING"
SIGNATURE: Final = "signature.json"
# What is signed begins with this, so that no other text signed by the same key can pass for it.
PURPOSE: Final = b"gatecast bundle signature 1\n"
MAX_BYTES: Final = 16 * 1024  # of a signature, or of a key's file
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID_DIGITS: Final = 16
PUBLIC, REVOKED = ".pub", ".revoked"
_HEX: Final = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Claim:
    """What a signature says.

    Attributes
    ----------
    kind : ``model`` of a registered version, ``judged`` of what the gate saw in its stead, or
        ``bundle`` of a folder that belongs to no registry.
    manifest : SHA-256 of the manifest.
    model, version, run : of the registry; None for a ``bundle``.
    signed : when, by the signer's clock; nothing is decided by it.
    """

    kind: str
    manifest: str
    model: str | None = None
    version: int | None = None
    run: str | None = None
    signed: str = ""


@dataclass(frozen=True)
class TrustedKey:
    """A public key of a ring; ``revoked`` says when and why it is trusted no more."""

    id: str
    name: str
    created: str
    revoked: str | None
    public: Ed25519PublicKey


class SigningKey:
    """A private key, held in a file that only its owner can read."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key()
        self.id = _id(self.public)

    @classmethod
    def create(cls, path: Path) -> SigningKey:
        """A new key in a new file; `ConfigError` where there is one, or none can be written."""
        key = cls(Ed25519PrivateKey.generate())
        content = key._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_new(path, content, 0o600)
        except FileExistsError:
            raise ConfigError(f"{path} is there already: it is not overwritten") from None
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        return key

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """The key in a file.

        Raises
        ------
        ConfigError : it is not there, is no ed25519 key, or others than its owner can read it.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(MAX_BYTES)
        except OSError as error:
            raise ConfigError(f"cannot read the signing key {path}: {error.strerror}") from None
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigError(
                f"the signing key {path} can be read by others than its owner: chmod 600 {path}; "
                "if somebody may have read it, revoke it and make another"
            )
        try:
            private = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(
                f"{path} is no ed25519 private key: make one with `gatecast keys new`"
            )
        return cls(private)

    def sign(self, folder: Path, target: Path | None = None, **subject: Any) -> Path:
        """Write the signature of a bundle, by default into its folder.

        Parameters
        ----------
        subject : ``kind``, ``model``, ``version``, ``run`` of the `Claim`.
        """
        digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        claim = Claim(**{"kind": "bundle", **subject, "manifest": digest, "signed": now})
        text = json.dumps(asdict(claim))
        signature = self._private.sign(PURPOSE + text.encode()).hex()
        file = (target or folder) / SIGNATURE
        half = file.with_name(file.name + ".part")
        half.write_bytes(_envelope(text, self.id, signature))
        half.chmod(0o644)
        half.replace(file)
        return file


class Ring:
    """The public keys that are trusted: a folder that only those who decide so may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def refuse_taken(self, name: str) -> None:
        """`ConfigError` for what is no name, or another key's."""
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"a key cannot be called {name!r}: up to 64 letters, digits, dots, - and _"
            )
        if any(key.name == name for key in self.held()):
            raise ConfigError(f"the ring {self.folder} has a key called {name!r}: choose another")

    def add(self, name: str, key: SigningKey) -> None:
        """Trust a key from now on."""
        self.refuse_taken(name)
        raw = key.public.public_bytes_raw().hex()
        content = {"name": name, "created": _today(), "public_key": raw}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_new(self.folder / f"{key.id}{PUBLIC}", _text(content), 0o644)
        except OSError as error:
            raise ConfigError(
                f"cannot write into the key ring {self.folder}: {error.strerror}"
            ) from None

    def held(self) -> list[TrustedKey]:
        """All keys, by name; also those that were revoked."""
        if not self.folder.is_dir():
            return []
        keys = [self._read(file) for file in self.folder.glob(f"*{PUBLIC}")]
        return sorted(keys, key=lambda key: key.name)

    def revoke(self, wanted: str, reason: str) -> TrustedKey:
        """Trust a key no more, by its name or id: nothing that it signed is loaded again."""
        keys = self.held()
        key = next((k for k in keys if wanted in (k.name, k.id)), None)
        if key is None:
            there = ", ".join(k.name for k in keys) or "none"
            raise ConfigError(f"the ring {self.folder} has no key {wanted!r}; there are: {there}")
        if key.revoked is None:
            content = _text({"at": _today(), "reason": reason})
            try:
                _write_new(self.folder / f"{key.id}{REVOKED}", content, 0o644)
            except OSError as error:
                raise ConfigError(
                    f"cannot write into the key ring {self.folder}: {error.strerror}"
                ) from None
        return key

    def require(self, key: SigningKey) -> None:
        """`ConfigError` unless what a key signs from now on is trusted here."""
        try:
            self._trusted(key.id, f"the signing key {key.id}")
        except SignatureError as error:
            raise ConfigError(str(error)) from None

    def check(self, folder: Path, digest: str, what: str, **subject: Any) -> Claim:
        """What a trusted key says of the bundle in a folder, whose manifest has a hash.

        Opens the signature and nothing else.

        Parameters
        ----------
        what : the bundle in words, for errors.
        subject : fields of the `Claim` that must be so.

        Raises
        ------
        SignatureError : with the reason.
        """
        try:
            with (folder / SIGNATURE).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise SignatureError(
                "unsigned",
                f"{what} is not signed, and a key ring is set ({RING_VARIABLE}): sign it with "
                "`gatecast keys sign`, or train it again with a signing key",
            ) from None
        except OSError as error:
            raise SignatureError(
                "damaged_signature", f"{what}: its signature cannot be read: {error.strerror}"
            ) from None
        text, identity, signature = _opened(content, what)
        key = self._trusted(identity, f"{what}: its key {identity}")
        try:
            key.public.verify(signature, PURPOSE + text.encode())
        except InvalidSignature:
            raise SignatureError(
                "wrong_signature", f"{what}: its signature was not made by the key {key.name!r}"
            ) from None
        claim = _claim(text, what)
        if claim.manifest != digest:
            raise SignatureError("other_bundle", f"{what}: its signature is of another bundle")
        facts = asdict(claim)
        for name, value in subject.items():
            if facts[name] != value:
                raise SignatureError(
                    "other_version",
                    f"{what}: its signature is of another one ({name} {facts[name]!r}, "
                    f"not {value!r})",
                )
        return claim

    def _trusted(self, identity: str, what: str) -> TrustedKey:
        if not self.folder.is_dir():
            raise SignatureError(
                "no_ring", f"the key ring {self.folder} is no folder: make it, or correct its name"
            )
        if (self.folder / f"{identity}{REVOKED}").exists():
            raise SignatureError("revoked_key", f"{what} was revoked")
        file = self.folder / f"{identity}{PUBLIC}"
        if not file.is_file():
            raise SignatureError("unknown_key", f"{what} is not in the key ring {self.folder}")
        try:
            return self._read(file)
        except ConfigError as error:
            raise SignatureError("no_ring", str(error)) from None

    def _read(self, file: Path) -> TrustedKey:
        try:
            content = json.loads(file.read_bytes()[:MAX_BYTES])
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(content["public_key"]))
            name, created = str(content["name"]), str(content["created"])
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{file} is damaged: copy the key's file anew, or remove it"
            ) from None
        identity = _id(public)
        if file.name != f"{identity}{PUBLIC}":
            raise ConfigError(f"{file} holds the key {identity}: name the file {identity}{PUBLIC}")
        return TrustedKey(identity, name, created, self._revoked(identity), public)

    def _revoked(self, identity: str) -> str | None:
        mark = self.folder / f"{identity}{REVOKED}"
        if not mark.exists():
            return None
        try:
            content = json.loads(mark.read_bytes()[:MAX_BYTES])
            return f"{content['at']}: {content['reason']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "by a file that cannot be read"


def configured_ring(environment: Mapping[str, str] = os.environ) -> Ring | None:
    """The ring that ``GATECAST_KEY_RING`` names; None without one."""
    folder = environment.get(RING_VARIABLE, "").strip()
    return Ring(Path(folder).expanduser()) if folder else None


def configured_key(path: str | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file of the signing key: as given, else as ``GATECAST_SIGNING_KEY`` names it."""
    named = (path or environment.get(KEY_VARIABLE, "")).strip()
    return Path(named).expanduser() if named else None


def _opened(content: bytes, what: str) -> tuple[str, str, bytes]:
    """Text, key and signature of a signature's file, which has one spelling only."""
    try:
        envelope = json.loads(content)
        text, key, signature = (str(envelope[name]) for name in ("claim", "key", "signature"))
        if _envelope(text, key, signature) != content or not _HEX.fullmatch(signature):
            raise ValueError
        if not re.fullmatch(rf"[0-9a-f]{{{ID_DIGITS}}}", key):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SignatureError(
            "damaged_signature", f"{what}: {SIGNATURE} is damaged; fetch it again, or sign it anew"
        ) from None
    return text, key, bytes.fromhex(signature)


def _claim(text: str, what: str) -> Claim:
    try:
        content = json.loads(text)
        return Claim(**{field.name: content[field.name] for field in fields(Claim)})
    except (ValueError, KeyError, TypeError):
        raise SignatureError(
            "damaged_signature", f"{what}: its signature says what this program cannot read"
        ) from None


def _envelope(text: str, key: str, signature: str) -> bytes:
    return _text({"claim": text, "key": key, "signature": signature})


def _text(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _id(public: Ed25519PublicKey) -> str:
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:ID_DIGITS]


def _today() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet, whole or not at all."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, does not replace what another process wrote meanwhile.
        os.link(half, path)
    finally:
        half.unlink(missing_ok=True)
