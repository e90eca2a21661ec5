"""`health.listen`: what a probe and Prometheus are told."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from etl_cli.runtime.ledger.requests import ask
from tests.conftest import free_port
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.forward import Forwarder
from tests.support.serving import ORDERS, serving
from tests.support.source import Shards
from tests.support.waiting import until


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def health(port: int) -> tuple[int, Any]:
    status, body = get(port, "/health")
    return status, json.loads(body)


def metrics(port: int) -> dict[str, float]:
    families = text_string_to_metric_families(get(port, "/metrics")[1])
    return {sample.name + sample.labels.get("state", ""): sample.value for f in families for sample in f.samples}


def test_health_and_metrics_follow_the_runs(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    port = free_port()
    directory = pipeline(
        {"source": "dbo.orders"}, health={"listen": f"127.0.0.1:{port}"}, error_handling={"max_retries": 0}
    )
    with serving(directory):
        until(lambda: health(port)[0] == 200 and health(port)[1]["ledger"])
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        until(lambda: metrics(port)["etl_runs_totalsucceeded"] == 1)
        seen = metrics(port)
        assert (seen["etl_rows_total"], seen["etl_last_run_rows"], seen["etl_last_run_success"]) == (8, 8, 1)
        assert seen["etl_healthy"] == seen["etl_ledger_up"] == 1
        assert 0 < seen["etl_last_run_duration_seconds"] < 60
        shards[0].execute("DROP TABLE dbo.orders")
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        until(lambda: health(port)[0] == 503)
        told = health(port)[1]
        assert (told["state"], told["pipeline"], told["next_run"]) == ("failing", "test", None)
        assert "manage-pipeline" in told["next_step"]
        assert metrics(port)["etl_runs_totalfailed"] == 1
        assert get(port, "/else")[0] == 404


def test_all_figures_of_a_run_come_at_once(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    port = free_port()
    directory = pipeline({"source": "dbo.orders"}, health={"listen": f"127.0.0.1:{port}"})
    with serving(directory), sink.open() as connection:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        ask(connection, "test", "run", {}, "somebody")
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.runs WHERE state = 'running'"))
        connection.execute("BEGIN")
        connection.execute("LOCK etl.requests IN SHARE MODE")  # the service waits to record the run's end
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.runs WHERE state = 'succeeded'"))
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            seen = metrics(port)
            assert seen["etl_runs_totalsucceeded"] == seen.get("etl_last_run_success", 0)
            time.sleep(0.1)
        connection.execute("COMMIT")
        until(lambda: metrics(port)["etl_runs_totalsucceeded"] == 1)
        assert metrics(port)["etl_last_run_success"] == 1


def test_health_tells_that_the_ledger_is_out_of_reach(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    port = free_port()
    with Forwarder(sink.host, sink.port) as way:
        place = {"host": "127.0.0.1", "port": way.port}
        directory = pipeline({"source": "dbo.orders"}, sink=place, health={"listen": f"127.0.0.1:{port}"})
        with serving(directory, reconnect_s=1):
            until(lambda: health(port)[0] == 200 and health(port)[1]["ledger"])
            way.close()
            until(lambda: health(port)[0] == 503 and not health(port)[1]["ledger"])
            assert metrics(port)["etl_ledger_up"] == 0
            way.open()
            until(lambda: health(port)[0] == 200)


def test_an_address_that_is_taken_is_told_and_the_service_goes_on(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"}, health={"listen": f"127.0.0.1:{sink.port}"})
    with serving(directory) as service:
        assert "Address already in use" in service.said("health.listen")
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
