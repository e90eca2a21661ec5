"""The commands as they are typed: what they print and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.monitor.conftest import Host, Inbox, Timer, run_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import Finished, PipelineDirectory
from tests.systemd.machine import REPOSITORY


def command(module: str, *arguments: str) -> Finished:
    done = subprocess.run(
        [sys.executable, "-m", f"etl_cli.cli.{module}", *arguments],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL, env=dict(os.environ),
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)


def test_it_ends_with_0_where_all_are_well_and_with_1_where_one_is_not(
    new_pipeline: Callable[..., PipelineDirectory], host: Host, sink: SinkDatabase
) -> None:
    for name in ("orders", "stock", "old"):
        new_pipeline(name)
    host.stopped("old")
    run_of(sink, "orders", "running", datetime.now(UTC))
    done = command("monitor")
    assert (done.code, done.err) == (0, "")
    assert "3 pipelines: 1 ok, 1 running, 1 stopped" in done.out
    host.failed("orders")
    done = command("monitor")
    assert done.code == 1
    assert "orders is dead" in done.out


def test_as_json_every_pipeline_has_all_that_is_known(
    pipeline: PipelineDirectory, host: Host, sink: SinkDatabase
) -> None:
    run_of(sink, "orders", "failed", datetime.now(UTC))
    host.logged("orders", "one", "two")
    done = command("monitor", "--json")
    assert done.code == 1
    [found] = done.data["pipelines"]
    assert found["state"] == "failing"
    assert "manage-pipeline run orders" in found["next_step"]
    assert (found["last_run"]["state"], found["last_run"]["rows"], found["last_run"]["error"]) == (
        "failed",
        0,
        "it broke",
    )
    assert found["next_run"].endswith("-01-01 00:00:00+00:00")
    known = {key: found[key] for key in ("errors_24h", "cpu_s", "memory_bytes", "restarts")}
    assert known == {"errors_24h": 2, "cpu_s": 12.0, "memory_bytes": 61_000_000, "restarts": 0}


def test_forty_pipelines_cost_one_call_of_systemctl_and_one_of_journalctl(
    new_pipeline: Callable[..., PipelineDirectory], host: Host
) -> None:
    for number in range(40):
        new_pipeline(f"p{number}")
    (host.place / "calls").write_text("")
    done = command("monitor", "--json")
    assert (done.code, len(done.data["pipelines"])) == (0, 40)
    assert sorted(host.calls) == ["journalctl", "systemctl"]


def test_a_broken_pipeline_is_shown_with_its_problem_and_the_others_as_usual(
    new_pipeline: Callable[..., PipelineDirectory],
) -> None:
    broken = new_pipeline("broken")
    new_pipeline("orders")
    broken.change(schedul="@daily")
    done = command("monitor", "--json")
    assert [(one["name"], one["state"]) for one in done.data["pipelines"]] == [("broken", "failing"), ("orders", "ok")]
    assert "schedul: unknown key" in done.data["pipelines"][0]["reason"]


def test_without_a_journal_all_but_the_errors_is_told(pipeline: PipelineDirectory, host: Host) -> None:
    (host.place / "journalctl").write_text("#!/bin/sh\necho 'No journal files were found.' >&2\n")
    done = command("monitor", "--json")
    assert (done.code, done.data["pipelines"][0]["errors_24h"]) == (0, None)
    assert "this host has no journal" in done.data["problems"][0]


def test_without_systemd_it_says_so_in_a_line(pipeline: PipelineDirectory, host: Host) -> None:
    (host.place / "systemctl").write_text("#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n")
    done = command("monitor")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("monitor-pipelines: this host is not run by systemd")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--watch", "--json"], "exclude each other"),
        (["--watch", "0.1"], "too often"),
        (["--watch"], "needs a terminal"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_ends_with_2(pipeline: PipelineDirectory, arguments: list[str], told: str) -> None:
    done = command("monitor", *arguments)
    assert (done.code, told in done.err) == (2, True), done


def test_record_ends_with_0_where_a_pipeline_is_sick_and_with_1_where_nobody_could_be_told(
    pipeline: PipelineDirectory, host: Host, timer: Timer, inbox: Inbox
) -> None:
    host.failed("orders")
    assert command("monitor", "--record").code == 0
    assert inbox.subjects() == ["etl-orders is down"]
    host.up("orders")
    (pipeline.path / "config.yaml").rename(pipeline.path / "kept")
    (pipeline.path / "config.yaml").write_text("[")
    host.failed("orders")
    (timer.state / "states.json").unlink()
    done = command("monitor", "--record")
    assert done.code == 1
    assert "nobody is told: " in done.out


def test_a_test_alert_reaches_every_url_and_each_is_told(
    new_pipeline: Callable[..., PipelineDirectory], inbox: Inbox
) -> None:
    new_pipeline(alerts={"urls": [inbox.url, "mailto://me:s3cret@127.0.0.1:1?from=a@example.org"], "on": []})
    done = command("manage", "test-alert", "orders")
    assert done.code == 1
    first, second = done.out.splitlines()
    assert first == "alerts.urls[0] (mailto): taken"
    assert second.startswith("alerts.urls[1] (mailto): not taken: ")
    assert "s3cret" not in done.out + done.err
    assert inbox.subjects() == ["etl-orders tries its alerts"]


def test_a_test_alert_that_is_taken_ends_with_0(pipeline: PipelineDirectory, inbox: Inbox) -> None:
    done = command("manage", "test-alert", "orders", "--json")
    assert (done.code, done.data) == (0, [{"url": "alerts.urls[0] (mailto)", "taken": True, "problem": ""}])
    assert len(inbox.subjects()) == 1


def test_a_test_alert_without_urls_says_how_to_add_one(new_pipeline: Callable[..., PipelineDirectory]) -> None:
    new_pipeline(alerts={"urls": []})
    done = command("manage", "test-alert", "orders")
    assert (done.code, done.out) == (2, "")
    assert "alerts.urls is empty" in done.err
    assert "add a line such as: alerts:" in done.err


def test_the_script_calls_the_command(pipeline: PipelineDirectory, host: Host) -> None:
    script = REPOSITORY / "scripts" / "monitor-pipelines.sh"
    if not (REPOSITORY / ".venv" / "bin" / "monitor-pipelines").exists():
        pytest.skip("this checkout has no .venv")
    done = subprocess.run([str(script), "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["well"] is True
    assert Path(script).stat().st_mode & 0o111
