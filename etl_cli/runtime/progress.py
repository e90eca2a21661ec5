"""What a stream tells while it works, and the sums that displays and summaries show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Literal

TaskState = Literal["queued", "running", "loaded", "applied", "failed", "cancelled"]


@dataclass(frozen=True)
class Moved:
    """What one stream has moved so far; seconds are where its time went."""

    rows_read: int = 0
    rows_loaded: int = 0
    bytes: int = 0
    read_s: float = 0.0
    encode_s: float = 0.0
    load_s: float = 0.0
    rows_rejected: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0

    def __add__(self, other: Moved) -> Moved:
        mine, theirs = astuple(self), astuple(other)
        return Moved(*(a + b for a, b in zip(mine, theirs, strict=True)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth telling at the end."""
        if not self.rows_rejected:
            return ()
        rows = "1 bad row was" if self.rows_rejected == 1 else f"{self.rows_rejected:,} bad rows were"
        return (f"{rows} put aside, in etl.rejects",)

    @property
    def slower_side(self) -> str:
        """Which side the stream waits for most."""
        waits = {"source": self.read_s, "sink": self.load_s, "client": self.encode_s}
        return max(waits, key=lambda side: waits[side])


@dataclass(frozen=True)
class TaskProgress:
    """One table of one shard."""

    table: str
    shard: str
    expected: int | None
    state: TaskState = "queued"
    streams: Mapping[int, Moved] = field(default_factory=dict)
    counted: Mapping[int, int] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None
    done: float | None = None
    """How far the program of an own source says that it is, of `total`, in its own unit."""
    total: float | None = None

    @property
    def moved(self) -> Moved:
        """What all its streams have moved."""
        return sum(self.streams.values(), Moved())

    def seconds(self, now: float) -> float:
        """How long the task has been running."""
        return 0.0 if self.started is None else (self.ended or now) - self.started

    def rows_per_s(self, now: float) -> float:
        """Its speed so far."""
        seconds = self.seconds(now)
        return self.moved.rows_read / seconds if seconds > 0 else 0.0

    def share(self) -> float | None:
        """Share done, 0 to 1, where the number of rows is known."""
        if self.state in ("loaded", "applied"):
            return 1.0
        if self.done is not None and self.total:
            return min(1.0, self.done / self.total)
        return min(1.0, self.moved.rows_read / self.expected) if self.expected else None

    def seconds_left(self, now: float) -> float | None:
        """An estimate of the time left."""
        share = self.share()
        if self.expected is None and share:
            return self.seconds(now) * (1 - share) / share
        speed = self.rows_per_s(now)
        if self.expected is None or speed == 0:
            return None
        return max(0.0, (self.expected - self.moved.rows_read) / speed)


Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Told:
    """Something that happened, and which task it is about, if it is about one."""

    text: str
    table: str | None = None
    shard: str | None = None
    level: Level = "warning"


@dataclass(frozen=True)
class StepProgress:
    """A step of the run's graph; `done` of `total` in the step's own unit, where it tells."""

    name: str
    state: str
    done: float | None = None
    total: float | None = None
    started: float | None = None
    ended: float | None = None
    error: str | None = None

    def seconds(self, now: float) -> float:
        """How long it has been running."""
        return 0.0 if self.started is None else (self.ended or now) - self.started


@dataclass
class Progress:
    """All tasks of a run; `listen` is called after each change."""

    tasks: dict[tuple[str, str], TaskProgress] = field(default_factory=dict)
    phase: str = "starting"
    run_id: int | None = None
    """The ledger's number of the run, once it has begun."""
    clock: Callable[[], float] = time.monotonic
    listen: Callable[[Progress], None] = lambda progress: None
    told: list[Told] = field(default_factory=list)
    """What happened beside the plan: tries that failed, runs that are resumed."""
    steps: dict[str, StepProgress] = field(default_factory=dict)
    """The steps of the run's graph, where it has others than the copy."""

    def step(self, name: str, state: str, error: str | None = None) -> None:
        """A step has begun or ended."""
        now = self.clock()
        before = self.steps.get(name, StepProgress(name, "queued"))
        if state == "running":
            self.steps[name] = replace(before, state=state, started=now)
        else:
            self.steps[name] = replace(before, state=state, ended=now, error=error)
        self.listen(self)

    def step_moved(self, name: str, done: float, total: float | None) -> None:
        """A step tells how far it is."""
        self.steps[name] = replace(self.steps[name], done=done, total=total)
        self.listen(self)

    def add(self, tasks: Iterable[TaskProgress]) -> None:
        """Announce tasks."""
        self.tasks |= {(task.table, task.shard): task for task in tasks}
        self.listen(self)

    def tell(self, text: str, table: str | None = None, shard: str | None = None, level: Level = "warning") -> None:
        """Something that an operator should read now."""
        self.told.append(Told(text, table, shard, level))
        self.listen(self)

    def enter(self, phase: str) -> None:
        """The run is in another phase: reading catalogues, copying, making visible."""
        self.phase = phase
        self.listen(self)

    def expect(self, table: str, shard: str, rows: int, stream: int = 0) -> None:
        """The source has counted the rows of a stream."""
        task = self.tasks[table, shard]
        counted = {**task.counted, stream: rows}
        self._change(table, shard, counted=counted, expected=sum(counted.values()))

    def advanced(self, table: str, shard: str, done: float, total: float | None) -> None:
        """The program of an own source tells how far it is."""
        self._change(table, shard, done=done, total=total)

    def moved(self, table: str, shard: str, moved: Moved, stream: int = 0) -> None:
        """A stream of the task has moved on: `moved` is what it has moved in all."""
        task = self.tasks[table, shard]
        self._change(table, shard, streams={**task.streams, stream: moved})

    def state(self, table: str, shard: str, state: TaskState) -> None:
        """A task has begun or ended."""
        now = self.clock()
        if state == "running":
            self._change(table, shard, state=state, started=now)
        elif state == "applied" and self.tasks[table, shard].ended is not None:
            self._change(table, shard, state=state)  # it was loaded before
        else:
            self._change(table, shard, state=state, ended=now)

    def _change(self, table: str, shard: str, **changes: object) -> None:
        self.tasks[table, shard] = replace(self.tasks[table, shard], **changes)  # type: ignore[arg-type]
        self.listen(self)
