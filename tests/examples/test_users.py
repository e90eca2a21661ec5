"""examples/users: an API and a sink that fail, workers and runs that are killed; and every user once.

ETL_USERS_TRIALS says how many seeds are tried (default 1); a failure tells its seed, ETL_USERS_SEED repeats it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.copying import leftovers, rows_of
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.example_servers import module_of, serving
from tests.support.examples import EXAMPLES, Example, copied

TRIALS = int(os.environ.get("ETL_USERS_TRIALS", "1"))
SEED = int(os.environ.get("ETL_USERS_SEED", str(int(time.time()))))
API = module_of("users", "api.py")
MEMBERS = [f"{organisation}/{integration}" for organisation, integration in API.PAIRS]

USERS = (
    "SELECT member, id, name, email, teams, to_char(updated_at, 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00')"
    ' FROM {} ORDER BY member COLLATE "C", id'
)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of all that is random in a trial."""
    seed = SEED + int(getattr(request, "param", 0))
    print(f"ETL_USERS_SEED={seed} ETL_USERS_TRIALS=1")
    return seed


@pytest.fixture
def server(seed: int) -> Any:
    return API.serve(seed=seed)


@pytest.fixture
def users(tmp_path: Path, sink: SinkDatabase, server: Any) -> Iterator[Example]:
    with serving(server) as address:
        yield copied("users", tmp_path, sink, USERS_API=address)


def let_the_sink_fail(sink: SinkDatabase) -> None:
    with sink.connect(SUPERUSER) as connection:
        connection.execute((EXAMPLES / "users" / "sink_failures.sql").read_bytes())


def failures_of(sink: SinkDatabase) -> int:
    ((count,),) = rows_of(sink, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM failures_injected")
    return int(count)


def users_of_api(day: int, members: list[str] = MEMBERS) -> list[tuple[Any, ...]]:
    return [
        (member, user["id"], user["name"], user["email"], user["teams"], user["updated_at"])
        for member in sorted(members)
        for user in API.users_of(*member.split("/"), day)
    ]


def assert_exactly_once(sink: SinkDatabase, *days: int) -> None:
    """Every page once of the reading of each of these days, and the last one's users in both tables, cell by cell."""
    wanted = users_of_api(days[-1])
    assert rows_of(sink, USERS.format("users_latest")) == wanted
    assert rows_of(sink, USERS.format("users")) == wanted
    readings = "SELECT member, seen_at, array_agg(page ORDER BY page) FROM users_raw GROUP BY member, seen_at"
    pages = rows_of(sink, readings)
    assert all(found == list(range(len(found))) for _, _, found in pages), "a page is missing, or there twice"
    assert len(pages) == len(days) * len(MEMBERS)
    in_pages = "SELECT sum(jsonb_array_length(users)) FROM users_raw"
    assert rows_of(sink, in_pages) == [(sum(len(users_of_api(day)) for day in days),)]
    assert leftovers(sink) == []
    assert rows_of(sink, "SELECT relname FROM pg_class WHERE relname ~ 'staging|differences'") == []


def changes_of_api(before: int, after: int) -> set[tuple[str, str, int]]:
    old = {row[:2]: row for row in users_of_api(before)}
    new = {row[:2]: row for row in users_of_api(after)}
    inserted = {("insert", *key) for key in new.keys() - old.keys()}
    deleted = {("delete", *key) for key in old.keys() - new.keys()}
    return inserted | deleted | {("update", *key) for key in new.keys() & old.keys() if old[key] != new[key]}


def changes_in(sink: SinkDatabase) -> list[tuple[str, str, int]]:
    return rows_of(
        sink,
        "SELECT operation, coalesce(new, old) ->> 'member', (coalesce(new, old) ->> 'id')::bigint FROM users_changes",
    )


@pytest.mark.parametrize("seed", range(TRIALS), indirect=True)
def test_each_user_is_there_once_whatever_fails(users: Example, sink: SinkDatabase, server: Any, seed: int) -> None:
    """Calls of the API, statements of the sink, and each worker after every fifth batch."""
    let_the_sink_fail(sink)
    checked = users.etl("check")
    assert checked.code == 0, checked.out + checked.err
    began = time.monotonic()
    done = users.etl("run")
    assert done.code == 0, done.out + done.err
    assert "ended by signal SIGKILL" in done.out
    assert_exactly_once(sink, 1)

    server.day = 2
    again = users.etl("run")
    assert again.code == 0, again.out + again.err
    assert_exactly_once(sink, 1, 2)
    found = changes_in(sink)
    assert len(found) == len(set(found))
    assert set(found) == changes_of_api(1, 2)
    told = done.out + again.out
    print(
        f"seed {seed}: {len(users_of_api(1))} and {len(users_of_api(2))} users, {len(found)} changes,"
        f" {server.failed} of {server.calls} calls failed, {failures_of(sink)} statements failed,"
        f" {told.count('SIGKILL')} workers killed, {told.count('another try in')} other tries,"
        f" {time.monotonic() - began:.0f} s"
    )


@pytest.mark.parametrize("seed", range(TRIALS), indirect=True)
def test_a_run_that_is_killed_again_and_again_is_resumed_to_the_same_end(
    users: Example, sink: SinkDatabase, server: Any, seed: int
) -> None:
    """kill -9 of the run and all its processes, at random moments."""
    let_the_sink_fail(sink)
    chance = random.Random(seed)
    killed, options = 0, ["run"]
    for _ in range(4):
        process = users.start(*options)
        wait_for_the_run(sink, process)
        time.sleep(chance.uniform(0, 6))
        killed += kill_all(process)
        options = ["run", "--resume"]
    tries = []
    for _ in range(6):
        done = users.etl("run", "--resume")
        if done.code == 0:
            break
        tries.append(done.err)
    else:
        raise AssertionError(f"seed {seed}: resumed in vain: {tries}")
    runs = rows_of(sink, "SELECT run_id, attempt, state FROM etl.runs ORDER BY run_id")
    # a run may end just before it is killed: then there is nothing to resume, and another one reads everything again
    assert_exactly_once(sink, *(1 for _, _, state in runs if state == "succeeded"))
    print(
        f"seed {seed}: {killed} runs killed, {len(tries)} resumptions failed, runs {runs},"
        f" {server.failed} of {server.calls} calls failed, {failures_of(sink)} statements failed"
    )


def wait_for_the_run(sink: SinkDatabase, process: subprocess.Popen[str]) -> None:
    """Until it has begun in the ledger: before that there is nothing to disturb."""
    began = (
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{sink.database}' AND application_name ~ ' run [0-9]'"
    )
    while process.poll() is None and rows_of(sink, began) == [(0,)]:
        time.sleep(0.05)


def kill_all(process: subprocess.Popen[str]) -> bool:
    """SIGKILL for a run and everything below it; whether it was still at work."""
    was_at_work = process.poll() is None
    with contextlib.suppress(psutil.NoSuchProcess):
        run = psutil.Process(process.pid)
        for one in [run, *run.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return was_at_work


def test_one_member_alone_leaves_the_others_as_they_are(users: Example, sink: SinkDatabase, server: Any) -> None:
    server.failures = 0
    done = users.etl("run")
    assert done.code == 0, done.out + done.err
    server.day = 2
    alone = users.etl("run", "--member", "acme/github")
    assert alone.code == 0, alone.out + alone.err
    read = rows_of(sink, "SELECT member, count(DISTINCT seen_at) FROM users_raw GROUP BY member")
    assert dict(read) == dict.fromkeys(MEMBERS, 1) | {"acme/github": 2}

    rest = users.etl("run", "--step", "users_latest", "--step", "users")
    assert rest.code == 0, rest.out + rest.err
    others = [member for member in MEMBERS if member != "acme/github"]
    wanted = users_of_api(2, ["acme/github"]) + users_of_api(1, others)
    assert rows_of(sink, USERS.format("users")) == wanted
