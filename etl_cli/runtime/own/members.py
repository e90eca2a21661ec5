"""Which members an own source is run for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etl_cli.runtime.errors import EtlError, SourceError, UsageError
from etl_cli.runtime.program.arguments import arguments_of
from etl_cli.runtime.program.sources import Source


def members_of(
    source: Source,
    params: Mapping[str, Any],
    results: Mapping[str, Any],
    wanted: Sequence[str],
    told: Callable[[Exception], str],
) -> dict[str, Any]:
    """By name what `fan_out` gives; of these the `wanted`, where some are.

    Raises SourceError where a function of the user fails, by `told`, and UsageError for a member that there is not, or
    that cannot be run alone.
    """

    def given(function: Callable[..., Any]) -> Mapping[str, Any]:
        known = {**params, **results, "params": dict(params)}
        return arguments_of(function, known, f"fan_out of {source.name}")

    try:
        members = source.members(results, given)
    except EtlError:
        raise
    except Exception as error:
        raise SourceError(f'step "{source.name}" fan_out failed: {told(error)}') from error
    if not wanted or source.fan_out is None:
        return members
    unknown = [name for name in wanted if name not in members]
    if unknown:
        raise UsageError(
            f"{source.name} has no member {', '.join(unknown)}", f"its members are {', '.join(members) or 'none'}"
        )
    if source.is_shadowed and source.to_sink and source.member_column is None:
        raise UsageError(
            f"{source.name} is read as a whole (mode {source.mode}): one member alone would take the others' place",
            "declare member_column, or run all of them",
        )
    return {name: value for name, value in members.items() if name in wanted}


def failed_members(source: str, errors: Sequence[EtlError], members: int) -> EtlError:
    """The errors of a source's members as one; each keeps its line."""
    if len(errors) == 1:
        return errors[0]
    lines = "\n".join(f"  {error}" for error in errors)
    return EtlError(f'step "{source}" failed for {len(errors)} of {members} members\n{lines}')
