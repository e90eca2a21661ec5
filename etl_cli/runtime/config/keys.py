"""The keys that config.yaml knows: for suggestions and for editors."""

from __future__ import annotations

import json
import types
import typing
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from etl_cli.runtime.config.model import Config


def keys_of(location: tuple[str | int, ...]) -> list[str]:
    """The keys known at a place such as `("source", "shards", 0)`; [] where any key may stand."""
    model: Any = Config
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for n, f in model.model_fields.items() if (f.alias or n) == part), None)
        model = _model_in(field.annotation) if field else None
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def json_schema() -> str:
    """The JSON Schema of config.yaml, for editors."""
    schema = Config.model_json_schema(by_alias=True, mode="validation")
    return json.dumps(_allow_references(schema), indent=2) + "\n"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, typing.Union, types.UnionType, typing.Annotated):
        return next((m for a in get_args(annotation) if (m := _model_in(a))), None)
    return None


def _allow_references(schema: Any) -> Any:
    """Let a `${VAR}` stand wherever a number, a truth value or one of a few words is wanted."""
    if isinstance(schema, list):
        return [_allow_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in ("integer", "number", "boolean") or "enum" in schema or "const" in schema:
        plain = {k: v for k, v in schema.items() if k not in ("title", "default", "description")}
        rest = {k: v for k, v in schema.items() if k not in plain}
        return {"anyOf": [plain, {"type": "string", "pattern": r"\$\{"}], **rest}
    return {key: _allow_references(value) for key, value in schema.items()}
