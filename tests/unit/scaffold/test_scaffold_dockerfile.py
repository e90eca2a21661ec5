"""The Dockerfile, read instruction by instruction; its pip step runs in the integration tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from etl_cli.scaffold import Outcome

# https://docs.docker.com/reference/dockerfile/
KNOWN = {
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD", "RUN",
    "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip


@pytest.fixture
def directory(make: Callable[..., Outcome]) -> Path:
    return make("my-orders").directory


@pytest.fixture
def instructions(directory: Path) -> list[tuple[str, str]]:
    return parse((directory / "Dockerfile").read_text())


def parse(text: str) -> list[tuple[str, str]]:
    """The instructions in order, comments out and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def position(instructions: list[tuple[str, str]], name: str, value: str) -> int:
    return next(i for i, (known, text) in enumerate(instructions) if known == name and value in text)


def test_it_holds_known_instructions_only_and_starts_from_a_slim_python(instructions: list[tuple[str, str]]) -> None:
    assert {name for name, _ in instructions} <= KNOWN
    assert instructions[0] == ("FROM", "python:3.11-slim-bookworm")


def test_what_is_installed_is_copied_before_what_is_edited(instructions: list[tuple[str, str]]) -> None:
    pip = position(instructions, "RUN", "pip install --no-cache-dir -r requirements.txt")
    assert position(instructions, "COPY", "requirements.txt") < pip
    assert position(instructions, "COPY", "vendor/") < pip
    assert pip < position(instructions, "COPY", ". .")


def test_the_driver_s_libraries_are_there_before_anything_is_run(instructions: list[tuple[str, str]]) -> None:
    apt = position(instructions, "RUN", "apt-get install")
    assert all(name in instructions[apt][1] for name in ("libltdl7", "libkrb5-3", "libgssapi-krb5-2"))
    assert "apt-get update" in instructions[apt][1]
    assert apt < position(instructions, "RUN", "pip install")


def test_it_runs_as_a_user_without_rights_and_stops_by_sigterm(instructions: list[tuple[str, str]]) -> None:
    user = position(instructions, "USER", "etl")
    assert all(name in ("STOPSIGNAL", "CMD") for name, _ in instructions[user + 1 :])
    assert ("STOPSIGNAL", "SIGTERM") in instructions
    name, command = instructions[-1]
    assert name == "CMD"
    # a list: a shell in between would swallow the signal
    assert json.loads(command) == ["python", "etl.py", "run"]


def test_all_that_it_copies_exists_and_is_sent_to_the_engine(
    instructions: list[tuple[str, str]], directory: Path
) -> None:
    ignored = ignore_patterns(directory)
    for name, arguments in instructions:
        for source in arguments.split()[:-1] if name == "COPY" else []:
            assert (directory / source).exists()
            assert not any(fnmatch(source.rstrip("/"), pattern) for pattern in ignored)
    assert not {"etl.py", "config.yaml", "requirements.txt", "vendor"} & ignored


def test_it_carries_no_secrets(instructions: list[tuple[str, str]], directory: Path) -> None:
    ignored = ignore_patterns(directory)
    for secret in (".env", ".env.bak", ".env.bak1"):
        assert any(fnmatch(secret, pattern) for pattern in ignored)
    for name, arguments in instructions:
        assert "PASSWORD" not in arguments.upper()
        assert not (name in ("COPY", "ADD") and ".env" in arguments)


def ignore_patterns(directory: Path) -> set[str]:
    lines = (directory / ".dockerignore").read_text().splitlines()
    assert not any(line.startswith("!") for line in lines)
    return {line for line in lines if line and not line.startswith("#")}
