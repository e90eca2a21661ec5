"""The writing, and every way in which it can be cut short."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from etl_cli.runtime.errors import EtlError, UsageError
from etl_cli.scaffold import Answers, Outcome, generate
from etl_cli.scaffold.generate import WriteError

Make = Callable[..., Outcome]
Snapshot = Callable[[], dict[str, tuple[bytes, int]]]
FILES = 11


def fail_at(call: int, original: Callable[..., object], error: BaseException) -> Callable[..., object]:
    """`original`, but its call number `call` (from 1) raises."""
    calls = 0

    def failing(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return original(*arguments)

    return failing


@pytest.mark.parametrize("call", range(1, FILES + 1))
def test_a_full_disk_while_a_pipeline_is_made_leaves_nothing(
    call: int, make: Make, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "somewhere")
    monkeypatch.setattr(os, "fsync", fail_at(call, os.fsync, full))
    with pytest.raises(WriteError, match="No space left on device; nothing was changed"):
        make()
    assert snapshot() == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_an_interruption_leaves_nothing(
    error: BaseException, make: Make, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", fail_at(5, os.fsync, error))
    with pytest.raises(type(error)):
        make()
    assert snapshot() == {}


@pytest.mark.parametrize("method", ["fsync", "replace"])
@pytest.mark.parametrize("call", range(1, 6))
def test_a_failure_while_it_is_made_again_leaves_everything_as_it_was(
    method: str, call: int, make: Make, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make(tables=("dbo.orders",)).directory
    (directory / "etl.py").write_text("# mine\n")
    (directory / ".env").write_text("SINK_DB_PASSWORD=secret\n")
    (directory / "own.sql").write_text("select 1")
    (directory / "Dockerfile").unlink()
    before = snapshot()
    owner = os if method == "fsync" else Path
    error = OSError(errno.EIO, "Input/output error", "x")
    monkeypatch.setattr(owner, method, fail_at(call, getattr(owner, method), error))
    with pytest.raises(WriteError):
        make(tables=("dbo.customers",), force=True)
    assert snapshot() == before


def test_a_failure_keeps_what_somebody_else_wrote_meanwhile(
    make: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        (root / "pipelines" / "other").mkdir()
        raise OSError(errno.EIO, "Input/output error", "x")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WriteError):
        make()
    assert [path.name for path in (root / "pipelines").iterdir()] == ["other"]


def test_of_two_at_the_same_time_one_is_told_that_the_name_is_taken(
    make: Make, root: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def beaten(self: Path, target: Path) -> Path:
        target.mkdir()
        (target / "etl.py").write_text("# the other's")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", beaten)
    with pytest.raises(UsageError, match="pipeline orders exists"):
        make()
    assert set(snapshot()) == {"pipelines", "pipelines/orders", "pipelines/orders/etl.py"}


def run_in_process(root: Path, prologue: str) -> subprocess.CompletedProcess[str]:
    """A generate in a process of its own, after `prologue`, which may end it or limit it."""
    script = f"""
import os, resource, signal, sys
from pathlib import Path
from etl_cli.scaffold import Answers, generate
from etl_cli.scaffold.wheel import Wheel
{textwrap.dedent(prologue)}
generate(Answers("orders"), Path({str(root)!r}), wheel=Wheel("etl_cli-0.1.0-py3-none-any.whl", bytes(100_000)))
"""
    repository = Path(__file__).parents[3]
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=repository)


def test_a_kill_leaves_no_half_pipeline_and_the_next_call_makes_a_whole_one(root: Path, make: Make) -> None:
    done = run_in_process(
        root,
        """
        count = 0
        def fsync(_):
            global count
            count += 1
            if count == 6:
                os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = fsync
        """,
    )
    assert done.returncode == -9
    assert not (root / "pipelines" / "orders").exists()
    assert all(change.action == "create" for change in make().changes)


def test_a_real_write_that_fails_leaves_nothing(root: Path, snapshot: Snapshot) -> None:
    done = run_in_process(
        root,
        """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        """,
    )
    assert "File too large" in done.stderr
    assert snapshot() == {}


def test_a_place_that_cannot_be_written_is_one_clear_line(make: Make, root: Path) -> None:
    (root / "pipelines").write_text("a file")
    with pytest.raises(WriteError, match="nothing was changed") as raised:
        make()
    assert len(str(raised.value).splitlines()) == 1
    assert (root / "pipelines").read_text() == "a file"


def test_an_error_of_writing_names_the_file_and_ends_with_exit_code_1(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", fail_at(1, os.fsync, OSError(errno.ENOSPC, "No space left on device", "here/x")))
    with pytest.raises(EtlError, match=r"^here/x: ") as raised:
        make()
    assert raised.value.exit_code == 1


def test_a_root_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a directory"):
        generate(Answers("orders"), tmp_path / "gone")
    assert not (tmp_path / "gone").exists()
