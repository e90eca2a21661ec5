from __future__ import annotations

import pytest

from etl_cli.scaffold.plan import Action, Current, decide, digest, plan
from etl_cli.scaffold.render import File

NEW, OLD, EDITED = b"new", b"old", b"edited"


@pytest.mark.parametrize(
    ("now", "force", "expected"),
    [
        (None, False, Action.CREATE),
        (None, True, Action.CREATE),
        (Current(NEW, 0o644), False, Action.IDENTICAL),
        (Current(NEW, 0o644), True, Action.IDENTICAL),
        (Current(OLD, 0o644), False, Action.UPDATE),
        (Current(OLD, 0o644), True, Action.UPDATE),
        (Current(EDITED, 0o644), False, Action.CONFLICT),
        (Current(EDITED, 0o644), True, Action.OVERWRITE),
        (Current(b"", 0o777, is_link=True), True, Action.KEEP),
    ],
)
def test_the_fate_of_a_file(now: Current | None, force: bool, expected: Action) -> None:
    assert decide("etl.py", File(NEW), now, digest(OLD), force=force) is expected


def test_a_file_of_unknown_origin_counts_as_edited() -> None:
    assert decide("etl.py", File(NEW), Current(OLD, 0o644), None, force=False) is Action.CONFLICT


@pytest.mark.parametrize(("force", "expected"), [(False, Action.KEEP), (True, Action.OVERWRITE)])
def test_secrets_stay_unless_forced(force: bool, expected: Action) -> None:
    assert decide(".env", File(NEW, 0o600), Current(OLD, 0o600), digest(OLD), force=force) is expected


def test_secrets_that_others_can_read_are_written_again() -> None:
    assert decide(".env", File(NEW, 0o600), Current(NEW, 0o644), None, force=False) is Action.UPDATE


@pytest.mark.parametrize("path", ["vendor/etl_cli-0.1.0-py3-none-any.whl", ".etl-cli.json"])
def test_what_nobody_edits_is_never_a_conflict(path: str) -> None:
    assert decide(path, File(NEW), Current(OLD, 0o644), None, force=False) is Action.UPDATE


def test_what_is_overwritten_is_kept_beside_under_a_free_name() -> None:
    files = {".env": File(NEW, 0o600), "etl.py": File(NEW)}
    current = {".env": Current(EDITED, 0o644), "etl.py": Current(EDITED, 0o755)}
    changes = plan(files, current, {}, force=True, taken={".env", "etl.py", "etl.py.bak"})
    assert [(change.path, change.action, change.file) for change in changes] == [
        (".env.bak", Action.BACKUP, File(EDITED, 0o600)),
        (".env", Action.OVERWRITE, File(NEW, 0o600)),
        ("etl.py.bak1", Action.BACKUP, File(EDITED, 0o755)),
        ("etl.py", Action.OVERWRITE, File(NEW)),
    ]
