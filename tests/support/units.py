"""systemd's judgement of a unit, for a test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def assert_exposure_at_most(tenths: int, unit: Path) -> None:
    """`systemd-analyze security` gives the unit in this file at most so many tenths; no systemd need run."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={tenths}", "--no-pager", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze knows no --offline")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
