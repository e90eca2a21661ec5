"""The unit and manage-pipeline on a booted systemd. `serve` is a stand-in; the unit is the hardened one."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable

import pytest

from etl_cli.systemd.unit import UnitFacts, unit_text
from tests.systemd.conftest import SECRET, Pipeline
from tests.systemd.machine import REPOSITORY, Done, Machine

pytestmark = pytest.mark.timeout(180)


def started(pipeline: Pipeline) -> Pipeline:
    done = pipeline.machine.manage("start", pipeline.name)
    assert done.code == 0, done.err
    return pipeline


def test_start_installs_enables_and_starts(pipeline: Pipeline) -> None:
    done = pipeline.machine.manage("start", pipeline.name)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{pipeline.name} is started, and will be at boot\n"
    assert pipeline.show("ActiveState") == "active"
    assert pipeline.show("UnitFileState") == "enabled"
    assert pipeline.show("StatusText") == "idle, next run at 00:00"
    again = pipeline.machine.manage("start", pipeline.name)
    assert again.out == f"{pipeline.name} runs already; nothing was done\n"


def test_the_service_runs_as_etl_and_writes_its_own_places_only(pipeline: Pipeline, machine: Machine) -> None:
    seen = started(pipeline).seen()
    assert seen["uid"] == int(machine.check("id", "-u", "etl"))
    assert seen["arguments"] == [str(pipeline.inside)]
    assert seen["cwd"] == str(pipeline.inside)
    assert {path for path, may in seen["writes"].items() if may} == {"/tmp"}  # which is private
    assert seen["logs"]
    assert seen["environment"]["LOGS_DIRECTORY"] == f"/var/log/etl/{pipeline.name}"


def test_secrets_arrive_as_a_credential_and_nowhere_else(pipeline: Pipeline, machine: Machine) -> None:
    seen = started(pipeline).seen()
    assert SECRET in seen["credentials"]
    assert seen["mode"].endswith("00") or seen["mode"].endswith("40"), seen["mode"]  # nobody else may read it
    assert SECRET not in json.dumps(seen["environment"])
    assert SECRET not in machine.check("systemctl", "show", pipeline.unit)
    pid = pipeline.show("MainPID")
    assert SECRET not in machine.check("cat", f"/proc/{pid}/environ")
    assert SECRET not in machine.check("cat", f"/proc/{pid}/cmdline")
    assert SECRET not in machine.manage("unit", pipeline.name).out
    assert SECRET not in machine.check("journalctl", "-u", pipeline.unit)


def test_security_says_at_most_1_5_and_verify_says_nothing(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    told = machine.check("systemd-analyze", "security", pipeline.unit, "--no-pager")
    score = re.search(r"exposure level for \S+: ([0-9.]+)", told)
    assert score, told
    assert float(score[1]) <= 1.5, told
    done = machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{pipeline.unit}")
    assert (done.code, done.out, [line for line in done.err.splitlines() if pipeline.unit in line]) == (0, "", [])


def test_stop_lasts_until_the_next_boot_and_disable_for_good(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    done = machine.manage("stop", pipeline.name)
    assert done.out.startswith(f"{pipeline.name} is stopped, and starts again at the next boot")
    assert (pipeline.show("ActiveState"), pipeline.show("Result")) == ("inactive", "success")
    assert pipeline.show("UnitFileState") == "enabled"
    done = machine.manage("stop", pipeline.name, "--disable")
    assert done.out == f"{pipeline.name} is stopped, and stays so at boot\n"
    assert pipeline.show("UnitFileState") == "disabled"


def test_a_stop_waits_for_the_commit(pipeline: Pipeline, machine: Machine) -> None:
    pipeline.behave("slow-stop")
    started(pipeline)
    began = time.monotonic()
    assert machine.manage("stop", pipeline.name).code == 0
    assert time.monotonic() - began >= 3
    assert "committed within stop_grace" in machine.manage("logs", pipeline.name).out
    assert pipeline.show("Result") == "success"


def test_restart_takes_new_secrets_and_info_says_that_it_is_wanted(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    before = pipeline.show("MainPID")
    env = pipeline.outside / ".env"
    env.write_text(env.read_text() + "MORE=1\n")
    assert ".env has changed since the service started" in machine.manage("info", pipeline.name).out
    assert machine.manage("restart", pipeline.name).code == 0
    assert pipeline.show("MainPID") != before
    assert "MORE=1" in pipeline.seen()["credentials"]
    assert ".env has changed" not in machine.manage("info", pipeline.name).out


def test_a_hung_supervisor_is_restarted_by_the_watchdog(pipeline: Pipeline) -> None:
    pipeline.behave("hang")
    pipeline.drop_in("[Service]", "WatchdogSec=1s", "RestartSec=100ms")
    started(pipeline)
    pipeline.behave("")
    pipeline.until("NRestarts", lambda value: int(value) >= 1)
    pipeline.until("ActiveState", lambda value: value == "active")
    assert "Watchdog timeout" in pipeline.machine.check("journalctl", "-u", pipeline.unit)
    pings = pipeline.show("NRestarts")
    time.sleep(2.5)
    assert pipeline.show("NRestarts") == pings, "one that pings is left alone"


def test_a_killed_supervisor_is_started_again(pipeline: Pipeline, machine: Machine) -> None:
    pipeline.drop_in("[Service]", "RestartSec=100ms")
    started(pipeline)
    before = pipeline.show("MainPID")
    machine.check("kill", "-9", before)
    pipeline.until("NRestarts", lambda value: value == "1")
    pipeline.until("ActiveState", lambda value: value == "active")
    assert pipeline.show("MainPID") != before


def test_after_five_failures_systemd_gives_up_and_start_tries_anew(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    pipeline.drop_in("[Service]", "RestartSec=100ms")
    pipeline.behave("crash")
    machine.check("kill", "-9", pipeline.show("MainPID"))
    pipeline.until("ActiveState", lambda value: value == "failed")
    assert int(pipeline.show("NRestarts")) <= 6
    listed = machine.manage("list", "--json")
    [mine] = [one for one in json.loads(listed.out) if one["name"] == pipeline.name]
    assert mine["state"] == "failed"
    pipeline.behave("")
    assert machine.manage("start", pipeline.name).code == 0
    assert pipeline.show("ActiveState") == "active"


def test_a_wrong_configuration_is_not_tried_again_and_told_in_one_line(pipeline: Pipeline, machine: Machine) -> None:
    pipeline.behave("wrong-config")
    done = machine.manage("start", pipeline.name)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1, done.err
    assert "the configuration is wrong" in done.err
    assert "schedul: unknown key" in done.err
    assert f"manage-pipeline logs {pipeline.name}" in done.err
    time.sleep(1)
    assert (pipeline.show("ActiveState"), pipeline.show("NRestarts")) == ("failed", "0")


def test_a_service_that_never_gets_ready_is_told(pipeline: Pipeline, machine: Machine) -> None:
    pipeline.behave("deaf")
    pipeline.drop_in("[Service]", "TimeoutStartSec=1s", "RestartSec=60s")
    done = machine.manage("start", pipeline.name)
    assert done.code == 1
    assert "did not say that it is ready in time" in done.err


def test_a_schedule_change_reaches_the_running_service(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    file = pipeline.outside / "config.yaml"
    before = file.read_text()
    done = machine.manage("schedule", pipeline.name, "weekly", "mon", "02:30")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "the service has taken the change"
    changed = [line for line in file.read_text().splitlines() if line not in before.splitlines()]
    assert changed == ['schedule: "30 2 * * MON"        # when']
    assert pipeline.show("StatusText") == "reloaded"
    assert pipeline.show("ActiveState") == "active"


def test_a_refused_change_is_told_and_the_old_one_stays(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    with (pipeline.outside / "config.yaml").open("a") as file:
        file.write("# refuse-me\n")
    done = machine.manage("schedule", pipeline.name, "daily", "01:00")
    assert "the service has refused the change and goes on with the old one: line 1: refuse-me" in done.out
    assert "goes on with the old one" in machine.manage("info", pipeline.name).out


def test_a_change_while_it_is_stopped_holds_from_the_next_start(pipeline: Pipeline, machine: Machine) -> None:
    done = machine.manage("schedule", pipeline.name, "remove")
    assert "by hand only" in done.out
    assert done.out.splitlines()[-1] == "the service does not run; the change holds from its next start"


def test_logs_have_levels(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    assert "INFO    starting" in machine.manage("logs", pipeline.name).out
    assert machine.manage("logs", pipeline.name, "--level", "error").out == ""
    pipeline.behave("crash")
    assert machine.manage("restart", pipeline.name).code == 1
    assert "ERROR   it crashed" in machine.manage("logs", pipeline.name, "--level", "error").out
    first = json.loads(machine.manage("logs", pipeline.name, "--json", "-n", "1").out)
    assert set(first) >= {"at", "level", "text"}
    assert machine.manage("logs", pipeline.name, "--since", "nonsense").code == 2


def test_who_may_not_read_the_journal_is_told_how_to(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    program = (
        "import sys; sys.argv[1:] = []\n"
        "from etl_cli.runtime.errors import EtlError\n"
        "from etl_cli.systemd.journal import entries\n"
        f"try: print(list(entries('{pipeline.unit}', 'system', lines=5, since=None, level=None)))\n"
        "except EtlError as error: print(error)\n"
    )
    done = as_nobody(machine, program)
    assert "the journal may not be read by this user: run: sudo " in done, done


def test_who_is_not_root_is_told_the_sudo_command(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    program = (
        "import sys; sys.argv = ['/opt/etl/venv/bin/manage-pipeline', 'stop', 'orders']\n"
        "from etl_cli.runtime.errors import EtlError\n"
        "from etl_cli.systemd.systemctl import Systemctl\n"
        f"try: Systemctl('system').stop('{pipeline.unit}')\n"
        "except EtlError as error: print(error)\n"
    )
    done = as_nobody(machine, program)
    assert "run: sudo /opt/etl/venv/bin/manage-pipeline stop orders" in done
    assert "--user" in done
    assert pipeline.show("ActiveState") == "active"


def as_nobody(machine: Machine, program: str) -> str:
    """Run Python as a user without rights, who need not be able to read this checkout."""
    drop = (
        "import os, pwd, sys; sys.path.insert(0, sys.argv[1])\n"
        "import etl_cli.systemd.journal, etl_cli.systemd.systemctl, encodings.idna\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    )
    done = machine.run(sys.executable, "-c", drop + program, str(REPOSITORY))
    return done.out + done.err


def test_a_unit_that_was_edited_by_hand_is_kept_without_force(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    file = machine.root / f"etc/systemd/system/{pipeline.unit}"
    edited = file.read_text().replace("TasksMax=512", "TasksMax=99")
    file.write_text(edited)
    done = machine.manage("restart", pipeline.name)
    assert done.code == 1
    assert "was edited by hand" in done.err
    assert "--force" in done.err
    assert file.read_text() == edited
    assert machine.manage("restart", pipeline.name, "--force").code == 0
    assert "TasksMax=512" in file.read_text()


def test_another_directory_does_not_take_the_service_of_a_name(
    pipeline: Pipeline, new_pipeline: Callable[..., Pipeline], machine: Machine
) -> None:
    started(pipeline)
    copy = new_pipeline("/etc/etl/copy")
    (copy.outside / "config.yaml").write_text((pipeline.outside / "config.yaml").read_text())
    done = machine.manage("start", str(copy.inside))
    assert done.code == 1
    assert f"{pipeline.unit} is the service of {pipeline.inside}" in done.err


def test_a_directory_that_the_user_cannot_read_is_refused_before_anything_is_installed(
    new_pipeline: Callable[..., Pipeline], machine: Machine
) -> None:
    pipeline = new_pipeline()
    (pipeline.outside / "config.yaml").chmod(0o600)
    done = machine.manage("start", pipeline.name)
    assert done.code == 1
    assert f"user etl, whom the service runs as, cannot read {pipeline.inside}/config.yaml" in done.err
    assert pipeline.show("LoadState") == "not-found"


def test_odd_letters_in_the_path_arrive_as_they_are(new_pipeline: Callable[..., Pipeline], machine: Machine) -> None:
    pipeline = new_pipeline("/etc/etl/a b%n 'c' \"d\" $HOME \\x é; #e")
    done = machine.manage("start", str(pipeline.inside))
    assert done.code == 0, done.err
    seen = pipeline.seen()
    assert seen["arguments"] == [str(pipeline.inside)]
    assert seen["cwd"] == str(pipeline.inside)
    assert SECRET in seen["credentials"]


def test_delete_asks_and_keeps_the_directory(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    done = machine.manage("delete", pipeline.name)
    assert done.code == 2
    assert "--yes" in done.err
    assert pipeline.show("ActiveState") == "active"
    done = machine.manage("delete", pipeline.name, "--yes")
    assert done.code == 0, done.err
    assert pipeline.show("LoadState") == "not-found"
    assert (pipeline.outside / "config.yaml").exists()
    assert (machine.root / f"var/lib/etl/{pipeline.name}/seen.json").exists()


def test_purge_removes_directory_state_and_logs(pipeline: Pipeline, machine: Machine) -> None:
    started(pipeline)
    done = machine.manage("delete", pipeline.name, "--purge", "--yes")
    assert done.code == 0, done.err
    assert not pipeline.outside.exists()
    assert not (machine.root / f"var/lib/etl/{pipeline.name}").exists()
    assert not (machine.root / f"var/log/etl/{pipeline.name}").exists()


def test_a_pipeline_that_is_not_installed_says_so(pipeline: Pipeline, machine: Machine) -> None:
    for verb in ("stop", "restart"):
        done = machine.manage(verb, pipeline.name)
        assert done.code == 1
        assert f"manage-pipeline start {pipeline.name}" in done.err
    assert "not installed" in machine.manage("list").out


def test_list_of_40_pipelines_takes_less_than_a_second(new_pipeline: Callable[..., Pipeline], machine: Machine) -> None:
    started(new_pipeline())
    for _ in range(39):
        new_pipeline()
    times = []
    for _ in range(3):
        began = time.monotonic()
        done = machine.manage("list", "--json")
        times.append(time.monotonic() - began)
    assert len(json.loads(done.out)) == 40
    assert min(times) < 1, times


def test_a_user_without_root_runs_it_under_a_systemd_of_their_own(
    new_pipeline: Callable[..., Pipeline], machine: Machine
) -> None:
    pipeline = new_pipeline("/home/alice/pipelines/orders")
    machine.check("useradd", "alice")
    machine.check("loginctl", "enable-linger", "alice")
    uid = machine.check("id", "-u", "alice").strip()
    facts = UnitFacts(
        pipeline.name, pipeline.inside, pipeline.inside / ".venv/bin/python", "user", secrets=pipeline.inside / ".env"
    )
    place = machine.root / f"home/alice/.config/systemd/user/{pipeline.unit}"
    place.parent.mkdir(parents=True)
    place.write_text(unit_text(facts))
    machine.check("chown", "-R", "alice:", "/home/alice")

    def alice(*command: str) -> Done:
        return machine.run("runuser", "-u", "alice", "--", "env", f"XDG_RUNTIME_DIR=/run/user/{uid}", *command)

    wait = time.monotonic() + 20
    while alice("systemctl", "--user", "daemon-reload").code and time.monotonic() < wait:
        time.sleep(0.2)
    done = alice("systemctl", "--user", "start", pipeline.unit)
    assert done.code == 0, alice("systemctl", "--user", "status", "--no-pager", pipeline.unit)
    assert alice("systemctl", "--user", "is-active", pipeline.unit).out == "active\n"
    verified = alice(
        "systemd-analyze", "--user", "verify", "--recursive-errors=no", str(place)[str(place).index("/home") :]
    )
    assert (verified.code, verified.err) == (0, "")
    [seen] = (machine.root / "home/alice").rglob("seen.json")
    assert SECRET in json.loads(seen.read_text())["credentials"]
    assert alice("systemctl", "--user", "stop", pipeline.unit).code == 0


def test_parts_in_a_home_directory_are_shown_and_nothing_else_there(
    new_pipeline: Callable[..., Pipeline], machine: Machine
) -> None:
    pipeline = new_pipeline('/home/bob: "x"/orders')
    (machine.root / "home/secret").mkdir(exist_ok=True)
    done = machine.manage("start", str(pipeline.inside))
    assert done.code == 0, done.err
    pid = pipeline.show("MainPID")
    assert machine.run("ls", f"/proc/{pid}/root/home").out.strip() == 'bob: "x"'
    assert pipeline.seen()["cwd"] == str(pipeline.inside)
