"""What has happened in a run since somebody last looked: phases, tasks that ended, what was told; a line each."""

from __future__ import annotations

from etl_cli.runtime.display.figures import count, duration, megabytes, rate
from etl_cli.runtime.progress import Level, Progress, StepProgress, TaskProgress, Told


class News:
    """Remembers what it has shown."""

    def __init__(self) -> None:
        self._phase = ""
        self._states: dict[tuple[str, str], str] = {}
        self._told = 0
        self._steps: dict[str, str] = {}

    def look(self, progress: Progress) -> list[Told]:
        """What is new, in order."""
        found = []
        if progress.phase != self._phase:
            self._phase = progress.phase
            found.append(Told(progress.phase, level="debug"))
        found += progress.told[self._told :]
        self._told = len(progress.told)
        for name, step in list(progress.steps.items()):
            if self._steps.get(name) != step.state:
                self._steps[name] = step.state
                found.append(_step(step, progress.clock()))
        for key, task in progress.tasks.items():
            before = self._states.get(key)
            if before != task.state:
                self._states[key] = task.state
                if task.state in ("loaded", "applied", "failed", "cancelled") and before != "loaded":
                    found.append(_finished(task, progress.clock()))
        return found


def sums(progress: Progress) -> str:
    """How far all of it is, on a line."""
    now = progress.clock()
    tasks = list(progress.tasks.values())
    rows = sum(task.moved.rows_read for task in tasks)
    speed = sum(task.rows_per_s(now) for task in tasks if task.state == "running")
    expected = [task.expected for task in tasks]
    total = sum(number or 0 for number in expected)
    share = f", {min(1.0, rows / total):.0%} done" if total and None not in expected else ""
    running = [task for task in tasks if task.state == "running"]
    slower = max((t.moved.slower_side for t in running), key=[t.moved.slower_side for t in running].count, default="")
    waits = f", waits for the {slower}" if slower else ""
    size = megabytes(sum(task.moved.bytes for task in tasks))
    done = sum(task.state in ("loaded", "applied") for task in tasks)
    return f"{count(rows)} rows, {size}, {rate(speed)}{share}{waits}, {done} of {len(tasks)} tasks loaded"


def _step(step: StepProgress, now: float) -> Told:
    error = f": {step.error}" if step.error else ""
    took = f", {duration(step.seconds(now))}" if step.ended is not None and step.started is not None else ""
    level: Level = "error" if step.state == "failed" else "info"
    return Told(f"step {step.name}: {step.state}{took}{error}", level=level)


def _finished(task: TaskProgress, now: float) -> Told:
    seconds = task.seconds(now)
    figures = f"{count(task.moved.rows_read)} rows in {duration(seconds)}, {rate(task.rows_per_s(now))}"
    level: Level = "error" if task.state == "failed" else "info"
    return Told(f"{f'{task.table} {task.shard}'.strip()}: {task.state}, {figures}", task.table, task.shard, level)
