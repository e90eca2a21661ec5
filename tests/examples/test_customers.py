"""examples/customers: a filter, a transform and a step of SQL."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from etl_cli.sandbox import shop as seeded
from tests.support.copying import rows_of
from tests.support.database import SinkDatabase
from tests.support.examples import Example
from tests.support.source import Server


def active() -> Iterator[tuple[Any, ...]]:
    """What is to arrive: no e-mail address, no notes, nobody who is not active any more."""
    for shard in range(1, 5):
        for number, name, email, country, limit, is_active, reference, at, _ in seeded.customers(shard):
            if is_active:
                domain = str(email).split("@")[1] if email is not None else None
                key = uuid.UUID(str(reference))
                yield number, name, country, limit, is_active, key, at, domain, f"shard{shard}"


def by_country() -> list[tuple[str, int, Decimal]]:
    sums: defaultdict[str, list[Decimal]] = defaultdict(list)
    for _, _, country, limit, *_ in active():
        sums[country].append(limit or Decimal(0))
    return sorted((country, len(limits), sum(limits, Decimal(0))) for country, limits in sums.items())


def test_customers_arrive_filtered_and_changed_and_are_summed_up(
    shop: list[Server], sink: SinkDatabase, example: Callable[..., Example]
) -> None:
    customers = example("customers", shop)
    customers.is_ready()
    for _ in range(2):
        customers.runs()
        assert rows_of(sink, "SELECT * FROM active_customers ORDER BY shard, id") == list(active())
        assert rows_of(sink, "SELECT * FROM customers_by_country ORDER BY country") == by_country()
    assert rows_of(sink, "SELECT DISTINCT step, state FROM etl.steps ORDER BY 1") == [
        ("copy", "succeeded"),
        ("customers_by_country", "succeeded"),
    ]
