"""The monitor on a booted systemd: as the user etl, from its hardened unit, with a real mail server and sink."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from etl_cli.monitor.unit import SERVICE, TIMER
from tests.conftest import free_port
from tests.support.database import SinkDatabase
from tests.support.mail import Mailbox, mail_server
from tests.systemd.conftest import Pipeline
from tests.systemd.host import add_interpreter
from tests.systemd.machine import REPOSITORY, Done, Machine

pytestmark = pytest.mark.timeout(180)
PYTHON = "/opt/etl/venv/bin/python"


@pytest.fixture(scope="module", autouse=True)
def interpreter(machine: Machine) -> None:
    """The host's interpreter, as the user etl finds it."""
    add_interpreter(machine)


@pytest.fixture
def mails() -> Iterator[Mailbox]:
    with mail_server(free_port()) as box:
        yield box


@pytest.fixture
def timer(machine: Machine) -> Iterator[Callable[[], str]]:
    """Installs the timer, which comes only when it is asked to: a test calls its service itself."""
    drop_in = machine.root / f"etc/systemd/system/{TIMER}.d/test.conf"
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text("[Timer]\nOnCalendar=\nOnCalendar=2099-01-01\n")

    def install() -> str:
        done = machine.monitor("install-timer")
        assert (done.code, done.err) == (0, "")
        return done.out

    yield install
    assert machine.monitor("remove-timer").code == 0
    drop_in.unlink(missing_ok=True)
    machine.check("systemctl", "daemon-reload")
    for path in ("var/lib/etl-monitor/states.json", "var/log/etl/monitor.log"):
        (machine.root / path).unlink(missing_ok=True)


def as_etl(machine: Machine, *arguments: str) -> Done:
    return machine.run("runuser", "-u", "etl", "--", "env", "ETL_HOME=/etc/etl", PYTHON, "-P", *arguments)


def told(pipeline: Pipeline, mails: Mailbox, sink: SinkDatabase) -> Pipeline:
    """The pipeline with a sink that answers and alerts that arrive, whose secrets the group etl may read."""
    file = pipeline.outside / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["sink"] = {"host": "127.0.0.1", "port": sink.port, "user": sink.user, "password": sink.password}
    config["sink"] |= {"database": sink.database, "sslmode": "disable"}
    config["alerts"] = {"urls": [mails.url]}
    file.write_text(yaml.safe_dump(config))
    pipeline.machine.check("chown", "root:etl", f"{pipeline.inside}/.env")
    pipeline.machine.check("chmod", "0640", f"{pipeline.inside}/.env")
    return pipeline


def look(machine: Machine) -> list[str]:
    """One look of the timer's service; the lines of its log."""
    machine.check("systemctl", "start", SERVICE)
    return (machine.root / "var/log/etl/monitor.log").read_text().splitlines()


def test_a_dead_service_is_mailed_once_and_its_recovery_once(
    pipeline: Pipeline, machine: Machine, mails: Mailbox, sink: SinkDatabase, timer: Callable[[], str]
) -> None:
    told(pipeline, mails, sink)
    pipeline.drop_in("[Service]", "Restart=no")
    assert machine.manage("start", pipeline.name).code == 0
    assert "note" not in timer()
    assert f"{pipeline.name}: first look -> ok: no run yet; next slot" in "\n".join(look(machine))
    assert mails.subjects == []
    machine.check("kill", "-9", pipeline.show("MainPID"))
    pipeline.until("ActiveState", lambda value: value == "failed")
    for _ in range(2):
        lines = look(machine)
    assert f"{pipeline.name}: ok -> dead: the service was killed by signal 9" in lines[-1]
    assert [subject.rpartition(" on ")[0] for subject in mails.subjects] == [f"etl-{pipeline.name} is down"]
    assert "INFO    starting" in mails.text(0), "the last lines of the service's journal"
    assert machine.manage("start", pipeline.name).code == 0
    for _ in range(2):
        look(machine)
    assert [subject.rpartition(" on ")[0] for subject in mails.subjects[1:]] == [f"etl-{pipeline.name} is well again"]
    assert machine.show(SERVICE, "Result") == "success"


def test_a_service_that_was_stopped_wakes_nobody_and_one_that_crashes_again_and_again_does(
    pipeline: Pipeline, machine: Machine
) -> None:
    assert machine.manage("start", pipeline.name).code == 0
    assert machine.manage("stop", pipeline.name).code == 0
    assert seen(machine, pipeline)["state"] == "stopped"
    pipeline.drop_in("[Service]", "RestartSec=100ms")
    assert machine.manage("start", pipeline.name).code == 0
    for restarts in ("1", "2"):
        machine.check("kill", "-9", pipeline.show("MainPID"))
        pipeline.until("NRestarts", lambda value, wanted=restarts: value == wanted)  # type: ignore[misc]
        pipeline.until("ActiveState", lambda value: value == "active")
    found = seen(machine, pipeline)
    assert (found["state"], found["restarts"]) == ("dead", 2)
    assert "restarted 2 times" in found["reason"]
    (machine.root / f"etc/systemd/system/{pipeline.unit}").unlink()
    machine.check("systemctl", "kill", "--signal=KILL", pipeline.unit)
    machine.check("systemctl", "daemon-reload")
    assert seen(machine, pipeline)["state"] == "dead"


def seen(machine: Machine, pipeline: Pipeline) -> dict[str, Any]:
    done = machine.monitor("--json")
    [found] = [one for one in json.loads(done.out)["pipelines"] if one["name"] == pipeline.name]
    assert done.code == (0 if found["state"] in ("ok", "running", "stopped") else 1)
    return dict(found)


def test_errors_memory_and_cpu_are_what_the_journal_and_systemd_say(pipeline: Pipeline, machine: Machine) -> None:
    pipeline.behave("crash")
    assert machine.manage("start", pipeline.name).code == 1
    machine.check("systemctl", "stop", pipeline.unit)
    pipeline.behave("")
    assert machine.manage("start", pipeline.name).code == 0
    found = seen(machine, pipeline)
    assert found["state"] == "failing", "its sink does not answer"
    assert isinstance(found["errors_24h"], int)
    assert found["errors_24h"] >= 1
    # not known where the container has no such controllers
    assert isinstance(found["memory_bytes"], int) == pipeline.show("MemoryCurrent").isdigit()
    assert isinstance(found["cpu_s"], float) == pipeline.show("CPUUsageNSec").isdigit()
    text = machine.monitor().out
    assert f"{pipeline.name} is failing" in text
    assert "-> see whether Postgres answers" in text


def test_secrets_that_the_monitor_cannot_read_are_told_plainly_and_the_others_are_watched(
    new_pipeline: Callable[..., Pipeline],
    machine: Machine,
    mails: Mailbox,
    sink: SinkDatabase,
    timer: Callable[[], str],
) -> None:
    closed, open_ = new_pipeline(), told(new_pipeline(), mails, sink)
    for pipeline in (closed, open_):
        assert machine.manage("start", pipeline.name).code == 0
    said = timer()
    assert f"user etl cannot read {closed.inside}/.env, so nobody is told of that pipeline; run: chown" in said
    lines = "\n".join(look(machine))
    assert f"{closed.name}: first look -> failing: config.yaml or .env cannot be taken" in lines
    assert f"{closed.inside}/.env cannot be read (Permission denied)" in lines
    assert f"{open_.name}: first look -> ok" in lines


def test_pipelines_that_may_not_be_looked_at_are_not_taken_for_none(machine: Machine, timer: Callable[[], str]) -> None:
    timer()
    machine.check("chmod", "0700", "/etc/etl/pipelines")
    try:
        assert machine.run("systemctl", "start", SERVICE).code != 0
    finally:
        machine.check("chmod", "0750", "/etc/etl/pipelines")
    said = machine.check("journalctl", "-u", SERVICE, "-n", "20")
    assert "/etc/etl/pipelines cannot be read (Permission denied)" in said


def test_the_units_are_hardened_verified_and_kept_when_edited(machine: Machine, timer: Callable[[], str]) -> None:
    assert timer().startswith(f"{TIMER} is installed")
    assert timer().startswith(f"{TIMER} runs already; nothing was done")
    assert (machine.show(TIMER, "ActiveState"), machine.show(TIMER, "UnitFileState")) == ("active", "enabled")
    for unit in (SERVICE, TIMER):
        done = machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{unit}")
        assert (done.code, done.out, [line for line in done.err.splitlines() if unit in line]) == (0, "", [])
    security = machine.check("systemd-analyze", "security", SERVICE, "--no-pager")
    score = re.search(r"exposure level for \S+: ([0-9.]+)", security)
    assert score, security
    assert float(score[1]) <= 1.5, security
    file = machine.root / f"etc/systemd/system/{SERVICE}"
    file.write_text(file.read_text().replace("TasksMax=128", "TasksMax=9"))
    done = machine.monitor("install-timer")
    assert (done.code, "was edited by hand" in done.err) == (1, True)
    assert machine.monitor("install-timer", "--force").code == 0
    assert "TasksMax=128" in file.read_text()


def test_the_timer_comes_by_itself(machine: Machine, timer: Callable[[], str]) -> None:
    timer()
    drop_in = machine.root / f"etc/systemd/system/{TIMER}.d/test.conf"
    drop_in.write_text("[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\n")
    machine.check("systemctl", "daemon-reload")
    machine.check("systemctl", "restart", TIMER)
    log = machine.root / "var/log/etl/monitor.log"
    deadline = time.monotonic() + 30
    while not log.exists():
        assert time.monotonic() < deadline, machine.run("systemctl", "status", SERVICE).out
        time.sleep(0.3)
    assert machine.check("stat", "-c", "%U", "/var/log/etl/monitor.log", "/var/lib/etl-monitor").split() == ["etl"] * 2


def test_only_root_installs_and_removes(machine: Machine) -> None:
    for command in ("install-timer", "remove-timer"):
        done = as_etl(machine, "-m", "etl_cli.cli.monitor", command)
        assert done.code == 1
        assert re.fullmatch(r"monitor-pipelines: a timer of the host is \w+ by root only: run: sudo .*\n", done.err)
    assert machine.monitor("remove-timer").out == f"{TIMER} was not installed\n"


def test_40_pipelines_are_looked_at_in_about_a_second(
    new_pipeline: Callable[..., Pipeline], machine: Machine, mails: Mailbox, sink: SinkDatabase
) -> None:
    for _ in range(40):
        pipeline = told(new_pipeline(), mails, sink)
    assert machine.manage("start", pipeline.name).code == 0
    found = json.loads(machine.monitor("--json").out)
    assert (len(found["pipelines"]), found["well"], found["problems"]) == (40, True, [])
    looked, listed = fastest(lambda: machine.monitor("--json"), 1.2), fastest(lambda: machine.manage("list"), 1)
    print(f"monitor-pipelines {looked:.2f} s, manage-pipeline list {listed:.2f} s")


def fastest(command: Callable[[], Done], wanted_s: float) -> float:
    """Seconds of the first that is fast enough, while others may keep this host busy."""
    times = []
    for _ in range(10):
        began = time.monotonic()
        assert command().code == 0
        times.append(time.monotonic() - began)
        if times[-1] < wanted_s:
            return times[-1]
    pytest.fail(f"takes {times} s")


def test_watch_ends_quietly_at_ctrl_c(pipeline: Pipeline, machine: Machine) -> None:
    program = Path("/tmp/watch.py")
    (machine.root / "tmp/watch.py").write_text(_WATCH.format(repository=str(REPOSITORY), python=sys.executable))
    done = machine.run(sys.executable, str(program))
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"code": 130, "looks": True, "quiet": True}


_WATCH = """
import json, os, pty, select, signal, time
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(PYTHONPATH={repository!r}, ETL_HOME="/etc/etl", TERM="xterm", COLUMNS="120", LINES="40")
    os.execv({python!r}, [{python!r}, "-P", "-m", "etl_cli.cli.monitor", "--watch", "1"])
seen, until = b"", time.monotonic() + 30
while seen.count(b"pipelines: ") + seen.count(b"pipeline: ") < 2 and time.monotonic() < until:
    if select.select([terminal], [], [], 1)[0]:
        seen += os.read(terminal, 65536)
looks = time.monotonic() < until
os.write(terminal, b"\\x03")
rest = b""
try:
    while data := os.read(terminal, 65536):
        rest += data
except OSError:
    pass
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps(dict(code=code, looks=looks, quiet=b"Traceback" not in rest and b"interrupted" not in rest)))
"""
