"""What the blocks of config.yaml have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A block of config.yaml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
