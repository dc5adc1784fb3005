"""Slots of a schedule: none twice, none lost, across both changes of the clock."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipelines.scheduling.times import schedule_of, upcoming
from tests.faults.rows import Measure, share

UTC = datetime.UTC
CASES = [
    ("30 2 * * *", "Europe/Paris"),
    ("0 3 * * *", "America/New_York"),
    ("15 1 * * 1", "Australia/Lord_Howe"),
    ("0 0 1 * *", "America/Sao_Paulo"),
    ("45 23 * * 0-4", "Asia/Kathmandu"),
]


# Four of Prefect's schedulers at work on one database, killed at random and started again. Imports
# come first and once; every process is a fork.
SCHEDULERS = """
import asyncio, json, os, random, signal, sys, time
import sqlalchemy
from prefect.server import models, schemas
from prefect.server.database import provide_database_interface
from prefect.server.services import scheduler

cases, kills = json.loads(sys.argv[1]), int(sys.argv[2])

async def begin():
    db = provide_database_interface()
    await db.create_db()
    async with db.session_context(begin_transaction=True) as session:
        for number, (cron, zone) in enumerate(cases):
            flow = await models.flows.create_flow(session, schemas.core.Flow(name=f"f{number}"))
            clock = schemas.schedules.CronSchedule(cron=cron, timezone=zone)
            made = schemas.core.Deployment(name=str(number), flow_id=flow.id, schedules=[
                schemas.core.DeploymentSchedule(schedule=clock, active=True)])
            await models.deployments.create_deployment(session, made)
    await (await db.engine()).dispose()

async def slots():
    db = provide_database_interface()
    async with db.session_context() as session:
        found = await session.execute(sqlalchemy.select(
            db.Deployment.name, db.FlowRun.expected_start_time).join(
            db.Deployment, db.Deployment.id == db.FlowRun.deployment_id))
        return sorted((name, when.isoformat()) for name, when in found.all())

def forked(work):
    child = os.fork()
    if child == 0:
        asyncio.run(work())
        os._exit(0)
    return child

async def for_ever():
    while True:
        try:
            await scheduler.schedule_deployments()
        except Exception as error:
            print(repr(error)[:300], file=sys.stderr)
        await asyncio.sleep(0.01)

os.waitpid(forked(begin), 0)
draw = random.Random(0)
alive = [forked(for_ever) for _ in range(4)]
killed = 0
while killed < kills:
    time.sleep(draw.uniform(0.05, 0.6))
    place = draw.randrange(4)
    os.kill(alive[place], signal.SIGKILL)
    killed += os.waitpid(alive[place], 0)[1] == signal.SIGKILL
    alive[place] = forked(for_ever)
time.sleep(1.0)
for child in alive:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
asyncio.run(scheduler.schedule_deployments())
print(json.dumps(asyncio.run(slots())))
"""


def slow_slots(
    cron: str, zone: str, start: datetime.datetime, count: int
) -> list[tuple[int, int, int]]:
    """Local days that a daily, weekly or monthly line falls on, counted day by day."""
    _, _, day, _, weekday = cron.split()
    days = {int(weekday)} if weekday.isdigit() else set(range(7))
    if "-" in weekday:
        low, high = map(int, weekday.split("-"))
        days = set(range(low, high + 1))
    found: list[tuple[int, int, int]] = []
    at = start.astimezone(ZoneInfo(zone)).date()
    while len(found) < count:
        at += datetime.timedelta(days=1)
        if (at.weekday() + 1) % 7 in days and (day == "*" or at.day == int(day)):
            found.append((at.year, at.month, at.day))
    return found


@pytest.mark.fault("schedule")
@pytest.mark.timeout(1200)
def test_slots_fall_on_every_day_of_theirs_once(measure: Measure) -> None:
    count = measure.count(60, 1000)
    start = datetime.datetime(2026, 1, 10, 12, tzinfo=UTC)
    changes = 0
    for cron, zone in CASES:
        slots: list[datetime.datetime] = []
        at = start
        while len(slots) < count:
            # In pieces, as a scheduler that starts again asks for them.
            # The one it stands at comes again.
            piece = upcoming(schedule_of(cron, None, zone), min(97, count - len(slots)) + 1, at)
            piece = [when for when in piece if when > at]
            slots += piece
            at = slots[-1]
        local = [when.astimezone(ZoneInfo(zone)) for when in slots[:count]]
        days = [(when.year, when.month, when.day) for when in local]
        assert len(set(slots[:count])) == count
        assert days == slow_slots(cron, zone, start, count), (cron, zone)
        offsets = [when.utcoffset() for when in local]
        changes += sum(a != b for a, b in itertools.pairwise(offsets))
    assert changes > 0
    measure.says(
        f"{count:,} slots of each of {len(CASES)} lines in zones of their own, over {changes} "
        "changes of the clock: none twice, none lost",
        slots=count * len(CASES),
        changes=changes,
    )


@pytest.mark.fault("schedule")
@pytest.mark.timeout(1200)
@pytest.mark.skipif(share() is None, reason="four schedulers for a minute: make faults")
def test_four_schedulers_of_which_ten_are_killed_plan_every_slot_once(
    tmp_path: Path, measure: Measure
) -> None:
    each, kills = measure.count(20, 200), measure.count(2, 10)
    limits = {"MAX_RUNS": each, "MIN_RUNS": each, "MAX_SCHEDULED_TIME": "P7000D",
              "INSERT_BATCH_SIZE": 7}  # fmt: skip
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{tmp_path / 'p.db'}",
        **{f"PREFECT_SERVER_SERVICES_SCHEDULER_{k}": str(v) for k, v in limits.items()},
    }
    began = datetime.datetime.now(UTC)
    words = [sys.executable, "-c", SCHEDULERS, json.dumps(CASES), str(kills)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [(int(number), when) for number, when in json.loads(done.stdout.splitlines()[-1])]
    assert len(found) == len(set(found)), "a slot is there twice"
    for number, (cron, zone) in enumerate(CASES):
        times = [datetime.datetime.fromisoformat(when) for n, when in found if n == number]
        local = [when.astimezone(ZoneInfo(zone)) for when in sorted(times)]
        days = [(when.year, when.month, when.day) for when in local]
        # Time went on meanwhile: what was planned first is planned still.
        today = slow_slots(cron, zone, began - datetime.timedelta(days=1), each + 2)
        assert len(days) >= each
        at = today.index(days[0])
        assert days[:each] == today[at : at + each], (cron, zone)
    measure.says(
        f"{len(found):,} slots planned by 4 of Prefect's schedulers on one database, {kills} of "
        "them killed: none twice, none lost; killed runs and the catching up after an outage: "
        "`make slow PYTEST_ARGS=tests/pipelines/scheduling`",
        slots=len(found),
        kills=kills,
    )
