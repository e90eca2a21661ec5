"""What a run is asked to do beside its configuration. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import UsageError
from etl_cli.runtime.names import split_name

if TYPE_CHECKING:
    from etl_cli.runtime.program.declared import Declared


@dataclass(frozen=True)
class Request:
    """Of which tables and shards, from where on, and on whose behalf.

    `full` reads everything, whatever the watermarks say; `where` reads only the rows that meet a condition of
    the source, and changes only these.
    """

    requested_by: str = "command"
    resume: bool = False
    tables: Sequence[str] = ()
    shards: Sequence[str] = ()
    full: bool = False
    where: str | None = None
    slot: str | None = None
    """The due time that it is of, as ISO text."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the run, above those of config.yaml."""
    steps: Sequence[str] = ()
    """Only these steps of the graph; () = all."""
    members: Sequence[str] = ()
    """Only these members of own sources; () = all."""
    rerun_of: int | None = None
    from_step: str | None = None
    """With `rerun_of`: this step and those after it run again, with the stored results of the others."""
    request_id: int | None = None
    """The ledger's request that asks for it."""

    @property
    def is_partial(self) -> bool:
        """Whether not all of the pipeline is run: such a run is never resumed."""
        return bool(self.tables or self.shards or self.full or self.where or self.steps or self.members)

    def of_program(self, declared: Declared) -> Request:
        """The same in steps, where tables of own sources, or members, are asked for. Raises UsageError."""
        known = [step.name for step in declared.all_steps()]
        unknown = [name for name in self.steps if name not in known]
        if unknown:
            raise UsageError(f"no step is named {', '.join(unknown)}", f"the steps are {', '.join(known)}")
        named = [table for table in self.tables if table in declared.sources]
        rest = [table for table in self.tables if table not in named]
        steps = list(self.steps)
        if self.members and not named and not steps:
            steps = [source.name for source in declared.sources.values() if source.fan_out is not None]
            if not steps:
                raise UsageError("no source of etl.py has members", "leave --member out")
        elif named:
            copies = [step.name for step in declared.all_steps() if step.kind == "copy"]
            steps += [*named, *(copies if rest else [])]
        elif rest and declared.sources and not steps:
            steps = [step.name for step in declared.all_steps() if step.kind != "extract"]
        return replace(self, tables=rest, steps=steps)

    def refuse_contradictions(self) -> None:
        """Raise UsageError for options that exclude each other, and for an empty condition."""
        if self.where is not None and not self.where.strip():
            raise UsageError("--where is empty, which would read everything", "give a condition, or leave --where out")
        if self.resume and self.is_partial:
            raise UsageError(
                "--resume goes on with a whole run, with what it was to read",
                "leave --table, --shard, --step, --member, --full and --where out, or --resume",
            )

    def takes(self, name: tuple[str, str]) -> bool:
        """Whether the source table (schema, name) is asked for."""
        wanted = [tuple(part.lower() for part in split_name(table)) for table in self.tables]
        return not wanted or (name[0].lower(), name[1].lower()) in wanted

    def of_shards(self, config: Config) -> Config:
        """The configuration with only the shards that are asked for. Raises UsageError for an unknown one."""
        if not self.shards:
            return config
        known = {shard.name: shard for shard in config.source.shards}
        if not known:
            raise UsageError("--shard: the pipeline reads no shards", "--member names members of own sources")
        unknown = [name for name in self.shards if name not in known]
        if unknown:
            raise UsageError(f"no shard is named {', '.join(unknown)}", f"the shards are {', '.join(known)}")
        kept = [shard for name, shard in known.items() if name in self.shards]
        return config.model_copy(update={"source": config.source.model_copy(update={"shards": kept})})


EVERYTHING = Request()
