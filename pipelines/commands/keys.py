"""``gatecast keys``: who signs models, whose models are taken, who may call the service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from forecasting.errors import ConfigError
from pipelines.terminal.outcome import done, wants_json

if TYPE_CHECKING:
    from forecasting.signing import Ring

NameArgument = typer.Argument(..., metavar="NAME", help="What a person calls the key.")
RingOption = typer.Option(
    None,
    "--ring",
    metavar="FOLDER",
    help="Public keys that are trusted; default: GATECAST_KEY_RING, else .gatecast/ring.",
)
KeyOption = typer.Option(
    None, "--key", metavar="FILE", help="The signing key; default: GATECAST_SIGNING_KEY."
)
FileOption = typer.Option(
    None,
    "--file",
    metavar="FILE",
    help="Of the service's keys; default: GATECAST_API_KEYS, else .gatecast/api-keys.json.",
)


def register(app: typer.Typer) -> None:
    """Add ``keys`` and what can be done with them."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Signing keys of models, the ring of those that are trusted, keys of callers (`api`)."
        "\n\nExamples: `gatecast keys new trainer`, `gatecast keys list`,"
        ' `gatecast keys revoke trainer --reason "laptop lost"`, `gatecast keys sign m3-monthly`',
    )
    group.command("new")(new_command)
    group.command("list")(list_command)
    group.command("revoke")(revoke_command)
    group.command("sign")(sign_command)
    callers = typer.Typer(
        no_args_is_help=True,
        help="Keys of the service's callers: named, with scopes, kept as hashes."
        "\n\nExamples: `gatecast keys api new shop --scope forecast`, `gatecast keys api list`,"
        " `gatecast keys api revoke shop`",
    )
    callers.command("new")(new_api_command)
    callers.command("list")(list_api_command)
    callers.command("revoke")(revoke_api_command)
    group.add_typer(callers, name="api")
    app.add_typer(group, name="keys")


def new_command(
    name: str = NameArgument,
    key: str | None = typer.Option(
        None,
        "--key",
        metavar="FILE",
        help="Where the private key goes; default: GATECAST_SIGNING_KEY, else .gatecast/keys/NAME.",
    ),
    ring: str | None = RingOption,
) -> None:
    """Make a signing key: its private half in a file of its owner, its public half in the ring.

    Example: `gatecast keys new trainer --key ~/.config/gatecast/trainer.key --ring ring`
    """
    from forecasting.signing import SigningKey, configured_key
    from pipelines.machine.state import home

    key_ring = _ring(ring)
    key_ring.refuse_taken(name)
    path = configured_key(key) or home() / "keys" / name
    signing_key = SigningKey.create(path)
    key_ring.add(name, signing_key)
    print(f"{name} ({signing_key.id}) signs with {path}: nobody else may read that file")
    print(f"trusted by {key_ring.folder}: services need that folder and nothing more")
    print(f"  trainer: GATECAST_SIGNING_KEY={path}")
    print(f"  service: GATECAST_KEY_RING={key_ring.folder}")
    done({"name": name, "id": signing_key.id, "ring": key_ring.folder}, made=[path])


def list_command(ring: str | None = RingOption) -> None:
    """List the keys of a ring, and those that were revoked.

    Example: `gatecast keys list`
    """
    key_ring = _ring(ring)
    keys = key_ring.held()
    done({"ring": key_ring.folder, "keys": keys})
    if not keys:
        print(f"{key_ring.folder} holds no key; make one with `gatecast keys new NAME`")
    for key in keys:
        state = f"revoked {key.revoked}" if key.revoked else "trusted"
        print(f"{key.name}  {key.id}  made {key.created}  {state}")


def revoke_command(
    key: str = typer.Argument(..., metavar="NAME|ID", help="A key of the ring."),
    reason: str = typer.Option(..., "--reason", help="Kept in the ring."),
    ring: str | None = RingOption,
) -> None:
    """Trust a key no more: nothing that it signed is loaded again, whenever that was.

    What a service has loaded answers on, and the service says so: sign what is good with another
    key, or train anew.

    Example: `gatecast keys revoke trainer --reason "the laptop was lost"`
    """
    if not reason.strip():
        raise ConfigError("say why: --reason 'the laptop was lost'")
    revoked = _ring(ring).revoke(key, reason.strip())
    print(f"{revoked.name} ({revoked.id}) is revoked: what it signed is loaded no more")
    done({"revoked": revoked}, following="gatecast keys list")


def sign_command(
    what: str = typer.Argument(
        ...,
        metavar="NAME[@VERSION]|FOLDER",
        help="A registered model (its champion unless a version is named), or a saved forecaster.",
    ),
    key: str | None = KeyOption,
) -> None:
    """Vouch for a model: one from before there was a key, forced, or of a key that was revoked.

    What is signed is what lies there now. Look where it comes from first.

    Example: `gatecast keys sign m3-monthly@7`
    """
    from forecasting.bundle import verify
    from forecasting.signing import KEY_VARIABLE, SigningKey, configured_key

    path = configured_key(key)
    if path is None:
        raise ConfigError(
            f"no signing key: name one with --key FILE or {KEY_VARIABLE}; "
            "`gatecast keys new NAME` makes one"
        )
    signer = SigningKey.load(path)
    if Path(what).is_dir():
        verify(what, trusted=True)
        signer.sign(Path(what))
        print(f"{what} is signed by {signer.id}")
        done({"signed": what, "by": signer.id})
        return
    from pipelines.registry.registry import Registry
    from pipelines.tracking.store import connect

    name, _, alias = what.partition("@")
    registry = Registry(connect())
    version = registry.version(name, alias or None)
    registry.sign(version, signer)
    print(f"version {version.version} of {name} is signed by {signer.id}")
    done({"signed": name, "version": int(version.version), "by": signer.id})


def new_api_command(
    name: str = NameArgument,
    scope: str = typer.Option(
        ..., "--scope", help="What it may do, with commas: forecast, refresh, metrics."
    ),
    per_minute: int | None = typer.Option(None, "--per-minute", min=1, help="Requests, at most."),
    max_body: int | None = typer.Option(
        None, "--max-body", min=1, help="Bytes of a body, also once unpacked, at most."
    ),
    file: str | None = FileOption,
) -> None:
    """Make a key for a caller of the service, and show it this once.

    Example: `gatecast keys api new shop --scope forecast --per-minute 600`
    """
    limits = {"--per-minute": per_minute, "--max-body": max_body}
    arguments = [f"{option}={value}" for option, value in limits.items() if value is not None]
    _callers(file, "new", f"--scope={scope}", *arguments, "--", name)


def list_api_command(file: str | None = FileOption) -> None:
    """List the keys of callers, and those that were revoked.

    Example: `gatecast keys api list`
    """
    _callers(file, "list")


def revoke_api_command(name: str = NameArgument, file: str | None = FileOption) -> None:
    """Let nobody in by a key any more; running services notice at the next request.

    Example: `gatecast keys api revoke shop`
    """
    _callers(file, "revoke", "--", name)


def _callers(file: str | None, *words: str) -> None:
    """What the service's own program for its keys does."""
    from pipelines.machine.state import home

    named = file or os.environ.get("GATECAST_API_KEYS", "").strip()
    path = Path(named).expanduser().absolute() if named else home() / "api-keys.json"
    command = [sys.executable, "-m", "serving.keys", f"--file={path}", *words]
    sys.stdout.flush()
    if not wants_json():
        code = subprocess.run(command, check=False).returncode
    else:
        result = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        code = result.returncode
        done({"file": path, "said": result.stdout.splitlines()})
    if code:
        raise typer.Exit(code)


def _ring(folder: str | None) -> Ring:
    from forecasting.signing import Ring, configured_ring
    from pipelines.machine.state import home

    if folder is not None:
        return Ring(Path(folder).expanduser())
    return configured_ring() or Ring(home() / "ring")
