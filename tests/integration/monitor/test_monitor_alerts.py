"""The monitor's alerts arrive in a real mail server: once each, on change only."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import pytest

from etl_cli.runtime.errors import UsageError
from tests.integration.monitor.conftest import NOW, Host, Inbox, Timer, run_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory

MINUTE = timedelta(minutes=1)


def test_a_dead_service_is_told_once_with_its_last_words_and_once_that_it_is_well_again(
    pipeline: PipelineDirectory, host: Host, timer: Timer, inbox: Inbox
) -> None:
    assert timer.look()
    assert inbox.subjects() == []
    host.failed("orders")
    host.logged("orders", "the disk is full")
    assert timer.look(NOW + MINUTE)
    body = inbox.box.text(0)
    assert "killed by signal 9" in body
    assert "the disk is full" in body
    assert "manage-pipeline start orders" in body
    assert inbox.subjects() == ["etl-orders is down"]
    timer.look(NOW + 2 * MINUTE)
    assert inbox.subjects() == []
    host.up("orders")
    timer.look(NOW + 3 * MINUTE)
    timer.look(NOW + 4 * MINUTE)
    assert inbox.subjects() == ["etl-orders is well again"]


def test_a_run_without_a_sign_is_told_once_as_stalled_and_its_end_once(
    pipeline: PipelineDirectory, sink: SinkDatabase, timer: Timer, inbox: Inbox
) -> None:
    run_id = run_of(sink, "orders", "running", NOW)
    timer.look(NOW + MINUTE)
    assert inbox.subjects() == []
    for minutes in (11, 12):
        timer.look(NOW + minutes * MINUTE)
    body = inbox.box.text(0)
    assert f"run       {run_id}" in body
    assert inbox.subjects() == ["etl-orders is stuck"]
    with sink.open() as connection:
        connection.execute("UPDATE etl.runs SET heartbeat_at = %s", [NOW + 13 * MINUTE])
    for minutes in (13, 14):
        timer.look(NOW + minutes * MINUTE)
    assert inbox.subjects() == ["etl-orders is well again"]


def test_a_missed_slot_is_told_once_and_its_making_up_once(
    new_pipeline: Callable[..., PipelineDirectory], sink: SinkDatabase, timer: Timer, inbox: Inbox
) -> None:
    file = new_pipeline(schedule="@hourly").path / "config.yaml"
    os.utime(file, (0, 0))
    run_of(sink, "orders", "succeeded", NOW)
    timer.look(NOW + 30 * MINUTE)
    assert inbox.subjects() == [], "a slot that is due just now is not late"
    for minutes in (32, 33):
        timer.look(NOW + minutes * MINUTE)
    assert inbox.subjects() == ["etl-orders missed its time"]
    run_of(sink, "orders", "succeeded", NOW + 34 * MINUTE)
    for minutes in (35, 36):
        timer.look(NOW + minutes * MINUTE)
    assert inbox.subjects() == ["etl-orders is well again"]


def test_a_schedule_that_was_just_made_denser_has_missed_nothing(
    new_pipeline: Callable[..., PipelineDirectory], sink: SinkDatabase, timer: Timer, inbox: Inbox
) -> None:
    file = new_pipeline(schedule="@hourly").path / "config.yaml"
    run_of(sink, "orders", "succeeded", NOW)
    changed = (NOW + 40 * MINUTE).timestamp()
    os.utime(file, (changed, changed))
    timer.look(NOW + 45 * MINUTE)
    assert inbox.subjects() == []
    timer.look(NOW + 92 * MINUTE)
    assert inbox.subjects() == ["etl-orders missed its time"]


def test_a_first_look_tells_of_what_is_sick_then(
    pipeline: PipelineDirectory, host: Host, timer: Timer, inbox: Inbox
) -> None:
    host.failed("orders")
    timer.look()
    assert inbox.subjects() == ["etl-orders is down"]


def test_a_failed_run_is_left_to_the_service_to_tell(
    pipeline: PipelineDirectory, sink: SinkDatabase, timer: Timer, inbox: Inbox
) -> None:
    run_of(sink, "orders", "failed", NOW)
    assert timer.look(NOW + MINUTE)
    assert inbox.subjects() == []
    assert ": first look -> failing: run 1 failed at" in timer.log[-1]
    run_of(sink, "orders", "succeeded", NOW + MINUTE)
    timer.look(NOW + 2 * MINUTE)
    assert inbox.subjects() == []


def test_a_service_that_somebody_stopped_is_told_to_nobody(
    pipeline: PipelineDirectory, host: Host, timer: Timer, inbox: Inbox
) -> None:
    timer.look()
    host.stopped("orders")
    timer.look(NOW + MINUTE)
    assert inbox.subjects() == []
    assert ": ok -> stopped: the service was stopped" in timer.log[-1]


def test_what_nobody_took_is_told_at_the_next_look_and_then_no_more(
    pipeline: PipelineDirectory, host: Host, timer: Timer, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl_cli.runtime.alerts._TRIES", 1)
    host.failed("orders")
    inbox.box.refuses = True
    assert not timer.look()
    assert "the alert was not taken by: alerts.urls[0] (mailto)" in timer.log[-1]
    inbox.box.refuses = False
    assert timer.look(NOW + MINUTE)
    assert inbox.subjects() == ["etl-orders is down"]
    assert timer.log[-1].endswith("told: dead")
    assert timer.look(NOW + 2 * MINUTE)
    assert inbox.subjects() == []


def test_what_one_of_two_took_is_not_told_to_it_again(
    new_pipeline: Callable[..., PipelineDirectory],
    host: Host,
    timer: Timer,
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("etl_cli.runtime.alerts._TRIES", 1)
    new_pipeline(alerts={"urls": ["mailto://127.0.0.1:1?from=a@example.org&to=b@example.org", inbox.url]})
    host.failed("orders")
    assert timer.look()
    timer.look(NOW + MINUTE)
    assert inbox.subjects() == ["etl-orders is down"]
    assert "the alert was not taken by: alerts.urls[0] (mailto)" in timer.log[-1]


def test_a_service_that_died_of_its_configuration_is_told_all_the_same(
    pipeline: PipelineDirectory, host: Host, timer: Timer, inbox: Inbox
) -> None:
    pipeline.change(schedul="@daily")
    host.failed("orders")
    timer.look()
    body = inbox.box.text(0)
    assert "schedul: unknown key" in body
    assert inbox.subjects() == ["etl-orders is down"]


def test_who_asked_not_to_be_told_is_not(
    new_pipeline: Callable[..., PipelineDirectory], host: Host, timer: Timer, inbox: Inbox
) -> None:
    new_pipeline("quiet", alerts={"urls": [inbox.url], "on": ["failure"]})
    new_pipeline("mute", alerts={"urls": []})
    for name in ("quiet", "mute"):
        host.failed(name)
    assert timer.look()
    assert inbox.subjects() == []
    told = "\n".join(timer.log)
    assert "nobody wants to be told" in told
    assert "nobody is told: alerts.urls is empty" in told


def test_a_broken_pipeline_and_a_sink_that_is_down_leave_the_others_alone(
    new_pipeline: Callable[..., PipelineDirectory], host: Host, timer: Timer, inbox: Inbox
) -> None:
    broken, away, sick = new_pipeline("broken"), new_pipeline("away"), new_pipeline("sick")
    (broken.path / "config.yaml").write_text("name: [")
    away.change(sink={"port": 1})
    host.failed(sick.path.name)
    timer.look()
    assert inbox.subjects() == ["etl-sick is down"]
    told = "\n".join(timer.log)
    assert "broken: first look -> failing: config.yaml or .env cannot be taken" in told
    assert "away: first look -> failing: the ledger cannot be read" in told
    assert "sink: connecting to 127.0.0.1:1/" in told
    assert "3 pipelines: 2 failing (away, broken), 1 dead (sick)" in told


def test_a_state_file_that_is_broken_makes_it_a_first_look(
    pipeline: PipelineDirectory, host: Host, timer: Timer, inbox: Inbox
) -> None:
    host.failed("orders")
    timer.look()
    (timer.state / "states.json").write_text('{"pipelines": {"x": {"state": "unheard of"}}, "summary_at": null}')
    timer.look(NOW + MINUTE)
    assert inbox.subjects() == ["etl-orders is down"] * 2
    assert any("states.json cannot be read" in line for line in timer.log)
    assert [path.name for path in timer.state.iterdir()] == ["states.json"]


def test_the_log_has_a_line_for_a_change_and_a_summary_for_an_hour(
    pipeline: PipelineDirectory, host: Host, timer: Timer
) -> None:
    for minutes in range(0, 120, 10):
        if minutes == 50:
            host.failed("orders")
        timer.look(NOW + minutes * MINUTE)
    lines = [line.split(maxsplit=2)[2].partition(": the")[0] for line in timer.log]
    assert [line.partition(": no run")[0] for line in lines] == [
        "1 pipeline: 1 ok",
        "orders: first look -> ok",
        "1 pipeline: 1 ok",
        "orders: ok -> dead",
        "1 pipeline: 1 dead (orders)",
    ]


def test_without_the_directories_of_its_unit_it_says_how_it_is_meant(
    pipeline: PipelineDirectory, monkeypatch: pytest.MonkeyPatch, timer: Timer
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY")
    with pytest.raises(UsageError, match="install-timer"):
        timer.look()
