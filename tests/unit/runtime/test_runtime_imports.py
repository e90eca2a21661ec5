"""What the processes of a run load: memory and start-up are those of the libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["etl_cli.runtime.run", "etl_cli.runtime.commands", "etl_cli.cli.etl"])
def test_the_main_process_of_a_run_leaves_arrow_to_its_workers(module: str) -> None:
    program = f"import sys, {module}; print([name for name in ('pyarrow', 'numpy', 'pgpq') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
