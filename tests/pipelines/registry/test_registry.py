"""The registry: versions, aliases and their order, promotions that race, writers that die."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forecasting.bundle import verify
from forecasting.errors import ConfigError, GatecastError
from pipelines.cli import build
from pipelines.registry.files import HASH_TAG, bundle_digest
from pipelines.registry.registry import CHALLENGER, CHAMPION, PREVIOUS, Event, Registry, _story
from pipelines.tracking.tracker import Tracker
from tests.pipelines.registry.conftest import BUNDLE


def test_a_version_carries_its_hash_its_tags_and_a_loadable_model(
    registry: Registry, name: str, add: Callable[..., int], tmp_path: Path
) -> None:
    number = add(data_hash="d" * 32, scores=json.dumps({"mase": 0.8}), nothing=None)
    version = registry.version(name, number)
    assert registry.aliases(name) == {CHALLENGER: number}
    assert version.tags[HASH_TAG] == bundle_digest(BUNDLE)
    assert version.tags["data_hash"] == "d" * 32
    assert "nothing" not in version.tags
    folder = registry.download(version, tmp_path)
    verify(folder)
    written = (folder / "MLmodel").read_text()
    assert "loader_module: serving.pyfunc" in written
    assert "signature" in written


def test_promote_and_roll_back_move_the_aliases(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    first, second = add(), None
    registry.promote(name, None, reason="the first", action="promoted")
    assert registry.aliases(name) == {CHAMPION: first}
    second = add()
    assert registry.aliases(name) == {CHAMPION: first, CHALLENGER: second}
    event = registry.promote(name, second, reason="better", action="promoted")
    assert (event.version, event.replaced) == (second, first)
    assert registry.aliases(name) == {CHAMPION: second, PREVIOUS: first}
    registry.rollback(name, reason="too low")
    assert registry.aliases(name) == {CHAMPION: first, PREVIOUS: second}
    registry.rollback(name, reason="it was the data")
    assert registry.aliases(name) == {CHAMPION: second, PREVIOUS: first}


def test_promoting_the_champion_again_keeps_the_way_back(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    first, second = add(), add()
    registry.promote(name, first, reason="", action="promoted")
    registry.promote(name, second, reason="", action="promoted")
    registry.promote(name, second, reason="again", action="promoted")
    assert registry.aliases(name) == {CHAMPION: second, PREVIOUS: first}


def test_every_step_is_kept_with_its_reason(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    first = add()
    registry.promote(name, first, reason="better by 3 %", action="promoted")
    second = add()
    registry.refuse(name, second, "refused: bias +30 %")
    registry.promote(name, second, reason="the holiday explains it", action="forced")
    registry.rollback(name, reason="it did not")
    history = registry.history(name)
    assert [(e.action, e.version) for e in history] == [
        ("registered", first),
        ("promoted", first),
        ("registered", second),
        ("refused", second),
        ("forced", second),
        ("rolled back", first),
    ]
    assert history[-2].reason == "the holiday explains it"
    assert [e.at for e in history] == sorted(e.at for e in history)
    assert all(e.by for e in history)
    tags = registry.version(name, second).tags
    assert (tags["decision"], tags["decision_reason"]) == ("forced", "the holiday explains it")


def test_the_models_page_tells_who_is_champion_and_why(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    first = add()
    registry.promote(name, first, reason="better | by 3 %", action="promoted")
    told = registry.client.get_registered_model(name).description
    assert told.startswith(f"Kept by Gatecast: champion is version {first}.")
    assert "| promoted | 1 | better / by 3 % |" in told
    many = [Event("2026-11-21T10:00:00", "refused", v, None, "x" * 500, "me") for v in range(40)]
    long = _story({CHAMPION: 3}, many).splitlines()
    assert 3000 < len("\n".join(long)) < 5000
    assert long[4].startswith("| 2026-11-21 10:00 | refused | 39 | xxx")
    assert long[-1].endswith("… |")
    registry.client.update_registered_model(name, "Written by hand.")
    registry.refuse(name, first, "refused")
    assert registry.client.get_registered_model(name).description == "Written by hand."


def test_without_a_previous_champion_there_is_no_way_back(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    registry.promote(name, add(), reason="", action="promoted")
    with pytest.raises(GatecastError, match="no previous champion"):
        registry.rollback(name)


def test_what_is_not_there_is_named_with_what_is(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    add()
    with pytest.raises(GatecastError, match="no registered model 'nobody'; there are:"):
        registry.version("nobody", None)
    with pytest.raises(GatecastError, match="no registered model 'nobody'"):
        registry.history("nobody")
    with pytest.raises(GatecastError, match="no version '9'; versions: 1; aliases: challenger"):
        registry.version(name, 9)
    with pytest.raises(GatecastError, match="no version 'champion'"):
        registry.rollback(name)


def test_racing_promotions_leave_one_champion_and_the_one_before(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    versions = [add() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        events = list(
            threads.map(
                lambda v: registry.promote(name, v, reason="race", action="promoted"), versions
            )
        )
    # Each promotion replaced the one that ended before it: the events form one chain.
    followed = {event.replaced: event.version for event in events}
    chain = [followed[None]]
    while chain[-1] in followed:
        chain.append(followed[chain[-1]])
    assert sorted(chain) == versions
    aliases = registry.aliases(name)
    assert (aliases[PREVIOUS], aliases[CHAMPION]) == (chain[-2], chain[-1])


# MLflow is imported before the processes part: each of them would take seconds over it.
DIES = """
import os, sys
from pathlib import Path
import mlflow.models, mlflow.pyfunc, mlflow.tracking
from pipelines.registry.registry import Registry
from pipelines.tracking.tracker import Tracker

bundle, *places = sys.argv[1:]
for where in places:
    if os.fork():
        os.wait()
        continue
    tracker = Tracker.open("registry", system_metrics=False)
    registry = Registry(tracker.client)
    step = {
        "artifacts": (registry, "_exists"),
        "version": (tracker.client, "set_model_version_tag"),
        "tag": (tracker.client, "set_registered_model_alias"),
    }[where]
    setattr(*step, lambda *a, **k: os._exit(9))
    with tracker.run("dies") as run:
        registry.register(
            "dies-after-" + where, run, Path(bundle), tags={"gate": "passed"}, description=""
        )
"""


@pytest.mark.slow
def test_a_writer_that_dies_leaves_readers_unharmed(
    registry: Registry, tracker: Tracker, state: Path, tmp_path: Path
) -> None:
    good: dict[str, int] = {}
    places = ("artifacts", "version", "tag")
    for where in places:
        with tracker.run("alive") as run:
            name = f"dies-after-{where}"
            good[name] = registry.register(name, run, BUNDLE, tags={}, description="")
        registry.promote(name, good[name], reason="", action="promoted")
    subprocess.run([sys.executable, "-c", DIES, str(BUNDLE), *places], check=True)
    assert tracker.close_abandoned() == len(places)
    assert [len(registry.versions(name)) for name in good] == [1, 2, 2]
    for name, number in good.items():
        champion = registry.version(name, None)
        assert int(champion.version) == number
        verify(registry.download(champion, tmp_path))
        for half in registry.versions(name)[1:]:
            if HASH_TAG not in half.tags:
                with pytest.raises(GatecastError, match="never finished"):
                    registry.promote(name, int(half.version), reason="", action="promoted")
        assert registry.aliases(name)[CHAMPION] == number
        with tracker.run("after") as run:
            later = registry.register(name, run, BUNDLE, tags={}, description="")
        registry.promote(name, None, reason="", action="promoted")
        assert registry.aliases(name) == {CHAMPION: later, PREVIOUS: number}


def test_files_that_changed_after_registration_are_refused(
    registry: Registry, name: str, add: Callable[..., int], tmp_path: Path
) -> None:
    version = registry.version(name, add())
    manifest = Path(version.source.removeprefix("file://")) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"sha256"', '"sha_256"', 1))
    with pytest.raises(GatecastError, match="is damaged"):
        registry.download(version, tmp_path / "fresh")
    shutil.rmtree(manifest.parent)
    with pytest.raises(GatecastError, match="cannot be read"):
        registry.download(version, tmp_path / "fresh")


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(), list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_commands_promote_roll_back_and_tell(
    state: Path, name: str, add: Callable[..., int]
) -> None:
    add()
    assert f"{name} version 1 is champion" in command("promote", name)[1].splitlines()
    add(gate="refused")
    code, said = command("promote", name)
    assert code == 3
    assert "the gate has not passed version 2" in said
    with pytest.raises(ConfigError, match="--force needs a reason"):
        command("promote", name, "--force")
    with pytest.raises(ConfigError, match="--force needs a reason"):
        command("promote", name, "--force", "--reason", "  ")
    code, said = command("promote", name, "--version", "2", "--force", "--reason", "I know why")
    assert code == 0
    assert "version 1 is now previous" in said
    assert "version 1 is champion again" in command("rollback", name, "--reason", "no good")[1]
    told = command("history", name)[1]
    assert told.splitlines()[0] == f"{name}: champion 1, previous 2"
    assert "forced 2 for 1" in told
    assert "I know why" in told
    told = CliRunner().invoke(build(), ["history", name, "--json"]).stdout
    lines = [json.loads(line) for line in told.splitlines()]
    assert lines[-1]["action"] == "rolled back"
    assert lines[-1]["reason"] == "no good"
