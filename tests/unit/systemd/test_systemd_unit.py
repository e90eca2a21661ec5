"""The unit's text, as systemd would read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.errors import UsageError
from etl_cli.systemd import escape
from etl_cli.systemd.unit import UnitFacts, in_homes, is_edited, unit_text
from tests.support.units import assert_exposure_at_most, needs_systemd_analyze

FACTS = UnitFacts(
    "orders", Path("/etc/etl/pipelines/orders"), Path("/opt/etl/venv/bin/python"), secrets=Path("/etc/etl/x/.env")
)


def settings(text: str) -> dict[str, list[str]]:
    """`Section.Key` -> its values, in order; every line must be a section, a comment or a setting."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def test_the_unit_says_what_the_supervisor_relies_on() -> None:
    unit = settings(unit_text(replace(FACTS, stop_grace_s=90)))
    expected = {
        "Type": "notify",
        "NotifyAccess": "main",
        "WatchdogSec": "60s",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "2",
        "OOMPolicy": "continue",
        "KillMode": "mixed",
        "TimeoutStopSec": "105s",
        "User": "etl",
        "StateDirectory": "etl/orders",
        "LoadCredential": "env:/etc/etl/x/.env",
        "ExecStart": '":/opt/etl/venv/bin/python" -P -m etl_cli.runtime serve "/etc/etl/pipelines/orders"',
    }
    assert {key: unit[f"Service.{key}"] for key in expected} == {key: [value] for key, value in expected.items()}
    assert unit["Unit.StartLimitBurst"] == ["5"]
    assert unit["Service.SystemCallErrorNumber"] == ["EPERM"]
    assert "Service.IPAddressDeny" not in unit
    assert "Service.Environment" not in unit
    assert "Service.EnvironmentFile" not in unit


def test_a_setting_stands_once_save_lists() -> None:
    for scope in ("system", "user"):
        unit = settings(unit_text(replace(FACTS, scope=scope)))
        twice = {key for key, values in unit.items() if len(values) > 1}
        assert twice == {"Service.SystemCallFilter"}


def test_a_users_own_unit_asks_for_nothing_that_needs_root() -> None:
    unit = settings(unit_text(replace(FACTS, scope="user")))
    for key in ("User", "Group", "CapabilityBoundingSet", "PrivateDevices", "ProtectKernelModules", "PrivateUsers"):
        assert f"Service.{key}" not in unit
    assert unit["Install.WantedBy"] == ["default.target"]


def test_without_secrets_there_is_no_credential() -> None:
    assert "Service.LoadCredential" not in settings(unit_text(replace(FACTS, secrets=None)))


def test_another_log_directory_may_be_written() -> None:
    unit = settings(unit_text(replace(FACTS, log_directory=Path("/srv/my logs"))))
    assert unit["Service.ReadWritePaths"] == ['"-/srv/my logs"']


def test_homes_are_hidden_save_what_is_needed() -> None:
    unit = settings(
        unit_text(replace(FACTS, directory=Path("/home/al/p/x"), libraries=(Path("/home/al/p"), Path("/usr"))))
    )
    assert unit["Service.ProtectHome"] == ["tmpfs"]
    assert unit["Service.BindReadOnlyPaths"] == ['"/home/al/p"']
    assert settings(unit_text(FACTS))["Service.ProtectHome"] == ["yes"]
    assert in_homes([Path("/homes/x"), Path("/root")]) == []


def test_an_edit_by_hand_is_seen() -> None:
    text = unit_text(FACTS)
    assert not is_edited(text)
    assert is_edited(text.replace("TasksMax=512", "TasksMax=4096"))
    assert is_edited("[Service]\nExecStart=/bin/true\n")


LETTERS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=20)


def unquoted(word: str) -> str:
    """A word as extract_first_word() of systemd reads it with EXTRACT_UNQUOTE | EXTRACT_CUNESCAPE, then specifiers."""
    assert word[0] == word[-1] == '"'
    letters = iter(word[1:-1])
    read = "".join(next(letters) if letter == "\\" else letter for letter in letters)
    return read.replace("%%", "%")


@given(LETTERS)
def test_a_word_is_read_as_it_was(text: str) -> None:
    word = escape.word(text)
    assert unquoted(word) == text
    assert "\n" not in word


@given(LETTERS)
def test_a_path_cannot_add_a_setting(text: str) -> None:
    path = Path(f"/p/{text}x")
    usual = settings(unit_text(FACTS))
    unit = settings(unit_text(replace(FACTS, directory=path, secrets=path / ".env", interpreter=path / "python")))
    assert unit.keys() == usual.keys()


@pytest.mark.parametrize("text", ["/a\nb", "/a\x00", "/a\x7f"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="control characters"):
        escape.word(text)


@pytest.mark.parametrize("text", ["/a ", "/a\\"])
def test_what_the_end_of_a_line_would_lose_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must not end"):
        escape.value(text)


@needs_systemd_analyze
def test_security_says_at_most_1_5_without_a_running_systemd(tmp_path: Path) -> None:
    file = tmp_path / "etl-orders.service"
    file.write_text(unit_text(FACTS))
    assert_exposure_at_most(15, file)
