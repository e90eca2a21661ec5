"""What the ledger forgets after `history.keep`."""

from __future__ import annotations

from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.retention import prune
from etl_cli.runtime.ledger.slots import claim_slot, end_slot, last_slot
from etl_cli.runtime.request import Request
from tests.support.database import SinkDatabase

DAY_S = 86_400.0


def test_old_runs_go_and_the_newest_stay(sink: SinkDatabase) -> None:
    with sink.open() as connection:
        ledger = Ledger(connection)
        for name in ("orders", "others"):
            ledger.register(name, "0123abcd" if name == "orders" else "4567abcd")
            for state in ("succeeded", "failed", "succeeded", "failed", "failed"):
                ledger.finish_run(ledger.start_run(name, "f", Request()), state)
        connection.execute("UPDATE etl.runs SET finalized_at = now() - interval '91 days' WHERE run_id <> 4")
        assert prune(connection, "orders", 90 * DAY_S) == 2
        left = connection.execute("SELECT run_id FROM etl.runs WHERE pipeline = 'orders' ORDER BY 1").fetchall()
        assert left == [(3,), (4,), (5,)], "the newest good one, the young one, the newest"
        row = connection.execute("SELECT count(*) FROM etl.runs WHERE pipeline = 'others'").fetchone()
        assert row == (5,)
        assert prune(connection, "orders", 90 * DAY_S) == 0


def test_the_newest_slot_of_each_entry_stays(sink: SinkDatabase) -> None:
    with sink.open() as connection:
        Ledger(connection).register("orders", "0123abcd")
        times = [
            row[0] for row in connection.execute("SELECT now() - n * interval '50 days' FROM generate_series(1, 4) n")
        ]
        for due in times:
            assert claim_slot(connection, "orders", due, 0) == "mine"
            assert claim_slot(connection, "orders", due, 0) == "another's"
            end_slot(connection, "orders", due, 0, "succeeded")
        prune(connection, "orders", 30 * DAY_S)
        assert connection.execute("SELECT due_at FROM etl.slots").fetchall() == [(times[0],)]
        assert last_slot(connection, "orders") == times[0]
