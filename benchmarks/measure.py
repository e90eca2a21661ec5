"""Runs a command and tells what it cost with everything it started, as one JSON document.

    python -m benchmarks.measure [--memory] COMMAND ...

CPU seconds are those of all its processes, also of those that outlived it: this process adopts them
(PR_SET_CHILD_SUBREAPER) and waits for them. With --memory the peak of the proportional set sizes of
all its processes is sampled as well, which costs time: not for a run whose seconds count.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
SAMPLE_S = 0.05


def main() -> None:
    """Run it; print {"out", "code", "wall_s", "cpu_s", "peak_mb", "peak_by_process_mb"}."""
    arguments = sys.argv[1:]
    memory = arguments[0] == "--memory"
    if memory:
        arguments.pop(0)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.perf_counter()
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    sampler = _Sampler() if memory else None
    out, _ = child.communicate()
    wall_s = time.perf_counter() - began
    _adopt_until_none_is_left()
    usage = os.times()
    print(
        json.dumps(
            {
                "out": out,
                "code": child.returncode,
                "wall_s": wall_s,
                "cpu_s": usage.children_user + usage.children_system,
                "peak_mb": sampler.stop() if sampler else None,
                "peak_by_process_mb": sampler.parts if sampler else None,
            }
        )
    )


def _adopt_until_none_is_left() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


class _Sampler:
    """Sums the PSS of every process below this one, twenty times a second."""

    def __init__(self) -> None:
        self._peak = 0.0
        self.parts: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The peak, in MB."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            parts = [_pss_mb(pid) for pid in _below(os.getpid())]
            if sum(parts) > self._peak:
                self._peak, self.parts = sum(parts), sorted(round(part) for part in parts)


def _below(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return [member for child in children for member in (child, *_below(child))]


def _pss_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    main()
