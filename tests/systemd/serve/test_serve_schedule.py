"""The real service under its hardened unit: slots, schedules, configuration, deletion."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.waiting import until
from tests.systemd.serve.served import Served

pytestmark = pytest.mark.timeout(120)
Serve = Callable[..., Served]


def test_a_slot_copies_and_status_journal_and_files_tell_it(serve: Serve) -> None:
    served = serve(schedule="@every 4s")
    served.fill(50)
    status = served.machine.check("systemctl", "status", "--no-pager", served.unit)
    assert 'Status: "next run ' in status
    served.until_rows("SELECT true FROM etl.slots WHERE outcome = 'succeeded' LIMIT 1", [(True,)])
    served.assert_exact(50)

    about_tables = [entry for entry in served.journal() if "TABLE" in entry]
    assert {entry["SHARD"] for entry in about_tables} == {"shard1", "shard2", "shard3", "shard4"}
    for entry in about_tables:
        assert (entry["PIPELINE"], entry["TABLE"], entry["PRIORITY"]) == (served.name, "dbo.orders", "6")
        assert entry["RUN_ID"].isdigit()
        assert entry["SYSLOG_IDENTIFIER"] == f"etl-{served.name}"
    assert served.said("succeeded, 200 rows")
    logs = served.machine.root / f"var/log/etl/{served.name}"
    assert "succeeded, 200 rows" in (logs / "output.log").read_text()
    assert "run 1: dbo.orders shard1: " in (logs / "output.log").read_text()


def test_what_fails_is_in_the_error_log(serve: Serve) -> None:
    served = serve(error_handling={"max_retries": 0})
    served.manage("run")  # there is no table dbo.orders
    served.until_rows("SELECT answer FROM etl.requests", [("failed",)])
    assert "dbo.orders" in (served.machine.root / f"var/log/etl/{served.name}/error.log").read_text()
    assert served.said("failed", options=["-p", "err"])


def test_a_changed_schedule_is_taken_and_then_runs(serve: Serve) -> None:
    served = serve(schedule="@daily")
    served.fill(10)
    pid = served.supervisor
    assert served.manage("schedule", "every", "3s").splitlines()[-1] == "the service has taken the change"
    served.until_rows("SELECT true FROM etl.slots WHERE outcome = 'succeeded' LIMIT 1", [(True,)])
    served.assert_exact(10)
    assert served.manage("schedule", "remove").splitlines()[-1] == "the service has taken the change"
    # a slot of before may be at work yet
    until(lambda: served.show("StatusText") == "no schedule: runs on request")
    served.manage("run", "--wait")  # requests still arrive after two reloads
    assert served.supervisor == pid


def test_a_config_that_became_wrong_changes_nothing_but_what_is_told(serve: Serve) -> None:
    served = serve(schedule="@every 4s")
    served.fill(10)
    config = served.outside / "config.yaml"
    config.write_text(config.read_text() + "tabels: []\n")
    served.machine.check("systemctl", "reload", served.unit)
    assert served.until_said("config.yaml was not taken over", "unknown key")["PRIORITY"] == "3"
    assert "config.yaml is wrong" in served.show("StatusText")
    told = served.try_to_manage("info").out
    assert "config.yaml is wrong, the service goes on with the old one" in told
    assert "did you mean tables?" in told
    before = len(served.ask("SELECT FROM etl.slots"))
    served.until_rows(f"SELECT count(*) >= {before + 1} FROM etl.slots WHERE outcome = 'succeeded'", [(True,)])
    served.assert_exact(10)


def test_delete_keeps_the_rows_and_purge_leaves_nothing_else(serve: Serve) -> None:
    served = serve()
    served.fill(10)
    served.manage("run", "--wait")
    pid = served.supervisor
    served.manage("delete", "--yes")
    assert served.show("LoadState") == "not-found"
    assert not served.proc(pid).exists()
    assert (served.machine.root / f"var/log/etl/{served.name}/output.log").exists()
    assert (served.outside / "config.yaml").exists()
    served.manage("start")
    served.manage("delete", "--purge", "--yes")
    for left in (f"etc/etl/pipelines/{served.name}", f"var/log/etl/{served.name}", f"var/lib/etl/{served.name}"):
        assert not (served.machine.root / left).exists()
    served.assert_exact(10)
