"""What changing rows on their way costs beside copying them as they are: `scripts/bench --changes`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.interleaved import Measure, interleaved, print_ratios

_HEAD = "from etl_cli.runtime import Pipeline\n\npipeline = Pipeline.load(__file__)\n\n\n"

PROGRAMS = {
    "plain": "",
    "transform": f'{_HEAD}@pipeline.transform("dbo.narrow")\ndef identity(batch):\n    return batch\n',
    "map": f'{_HEAD}@pipeline.map("dbo.narrow")\ndef identity(row):\n    return {{**row, "note": row["note"]}}\n',
}


def bench_changes(
    product: Callable[[dict[str, Any], str], list[str]], measure: Measure, settle: Callable[[], None], pairs: int
) -> None:
    """Interleaved: a copy, a copy through an identity transform, a copy through a map that makes every row anew."""
    commands = {name: product({"target": f"by_{name}"}, program) for name, program in PROGRAMS.items()}
    print_ratios(interleaved(commands, measure, settle, pairs), "plain", _per_core)


def _per_core(measured: Sequence[Any]) -> str:
    speed = statistics.median(one.rows / one.cpu_s for one in measured)
    return f"  {speed:,.0f} rows a second and core of the client, reading and loading included"
