"""constraints.txt against pyproject.toml: every section holds what it says, transitively."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from etl_cli.scaffold.origin import runtime_pins

REPOSITORY = Path(__file__).parents[3]
TEXT = (REPOSITORY / "constraints.txt").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LINUX = {"platform_system": "Linux", "sys_platform": "linux", "os_name": "posix", "platform_machine": "x86_64"}


def section(name: str) -> dict[str, str]:
    lines = re.split(r"^# \[(\w+)\].*$", TEXT, flags=re.MULTILINE)
    text = lines[lines.index(name) + 1]
    return dict(line.split("==") for line in text.splitlines() if "==" in line)


def needed(requirements: list[str]) -> set[str]:
    """The names that `requirements` need, transitively, on any supported Python, by what is installed here."""
    found: set[tuple[str, str]] = set()
    queue = [Requirement(text) for text in requirements]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            queue += [child for child in children(name) if applies(child, extra)]
    return {name for name, _ in found}


def children(name: str) -> list[Requirement]:
    return [Requirement(text) for text in metadata.requires(name) or []]


def applies(requirement: Requirement, extra: str) -> bool:
    versions = ("3.11", "3.12", "3.13")
    return requirement.marker is None or any(
        requirement.marker.evaluate(
            {**LINUX, "extra": extra, "python_version": version, "python_full_version": f"{version}.1"}
        )
        for version in versions
    )


def test_the_runtime_section_is_exactly_what_a_pipeline_needs() -> None:
    assert set(section("runtime")) == needed(PROJECT["project"]["dependencies"])
    assert runtime_pins(TEXT) == tuple(f"{name}=={version}" for name, version in section("runtime").items())


def test_every_direct_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    pins = section("runtime") | section("sandbox") | section("dev")
    direct = [
        *PROJECT["project"]["dependencies"],
        *(text for texts in PROJECT["project"]["optional-dependencies"].values() for text in texts),
        *PROJECT["dependency-groups"]["dev"],
    ]
    for requirement in map(Requirement, direct):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier


def test_it_is_exact_and_names_no_place_to_download_from() -> None:
    entries = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", entry) for entry in entries)
    assert len(entries) == len({entry.split("==")[0] for entry in entries})
    assert "://" not in TEXT
