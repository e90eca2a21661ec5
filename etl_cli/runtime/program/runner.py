"""Runs one step in a process of its own, with its tries and its time limit; always ended from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from etl_cli.runtime.program.attempt import STEP_FD
from etl_cli.runtime.program.declared import Step

_GRACE_S = 2.0


@dataclass(frozen=True)
class StepEnd:
    """How a step ended: its result, or why it has none."""

    state: Literal["succeeded", "skipped", "failed", "cancelled"]
    result: Any = None
    error: str | None = None
    tries: int = 1


Heard = Callable[[Mapping[str, Any]], None]
"""Is given what a step says of itself while it runs."""


class Runner(Protocol):
    """What runs a step: blocks until it has ended, unless it is cancelled from another thread."""

    def run(self, task: Mapping[str, Any]) -> StepEnd:
        """Run it; `task` has `params` and `results`."""

    def cancel(self) -> None:
        """End it, within seconds."""


class StepRunner:
    """Of one step; `run` blocks until it has ended, `cancel` may be called from another thread."""

    def __init__(self, directory: Path, step: Step, heard: Heard) -> None:
        self._directory = directory
        self._step = step
        self._heard = heard
        self._cancelled = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def run(self, task: Mapping[str, Any]) -> StepEnd:
        """Try it, and again as often as `retries` says."""
        tries = 0
        while True:
            tries += 1
            end = self._try(task, tries)
            if end.state != "failed" or tries > self._step.retries or self._cancelled.is_set():
                return end
            self._heard({"said": f"{end.error}; another try in {self._step.retry_delay_s:.1f} s", "level": "warning"})
            if self._cancelled.wait(self._step.retry_delay_s):
                return StepEnd("cancelled", tries=tries)

    def cancel(self) -> None:
        """End it: asked first, killed after two seconds."""
        self._cancelled.set()
        with self._turn:
            process = self._process
        if process is not None:
            _end(process)

    def _try(self, task: Mapping[str, Any], tries: int) -> StepEnd:
        ours, theirs = os.pipe()
        with self._turn:
            if self._cancelled.is_set():
                os.close(ours)
                os.close(theirs)
                return StepEnd("cancelled", tries=tries)
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "etl_cli.runtime", "step", str(self._directory)],
                stdin=subprocess.PIPE,
                env={**os.environ, STEP_FD: str(theirs)},
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)
        late = threading.Event()
        timer = self._timer(process, late)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(task).encode())
        last: dict[str, Any] = {}
        with os.fdopen(ours, "rb") as pipe:
            for line in pipe:
                last = json.loads(line)
                if "state" not in last:
                    self._heard(last)
        code = process.wait()
        if timer is not None:
            timer.cancel()
        return self._end_of(last, code, tries, late=late.is_set())

    def _timer(self, process: subprocess.Popen[bytes], late: threading.Event) -> threading.Timer | None:
        if self._step.timeout_s is None:
            return None

        def end() -> None:
            late.set()
            _end(process)

        timer = threading.Timer(self._step.timeout_s, end)
        timer.daemon = True
        timer.start()
        return timer

    def _end_of(self, last: Mapping[str, Any], code: int, tries: int, *, late: bool) -> StepEnd:
        if self._cancelled.is_set():
            return StepEnd("cancelled", tries=tries)
        named = f'step "{self._step.name}"'
        if late:
            return StepEnd(
                "failed", error=f"{named} took longer than its timeout ({self._step.timeout_s:.0f} s)", tries=tries
            )
        if "state" in last:
            return StepEnd(last["state"], last.get("result"), last.get("error"), tries)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return StepEnd("failed", error=f"{named}: its process {how}", tries=tries)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM for the step and what it has started, SIGKILL two seconds later."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
            return
