"""Keeps passwords out of whatever is shown: known values are replaced in every text."""

from __future__ import annotations

import json

from pydantic import BaseModel, SecretStr

MASK = "***"


def secrets_in(model: BaseModel) -> set[str]:
    """Every secret value of a configuration, however deep."""
    found: set[str] = set()
    for value in dict(model).values():
        found |= _secrets(value)
    return found


def redact(text: str, secrets: set[str]) -> str:
    """`text` without the secrets, also where a driver put them in braces or quotes."""
    for secret in sorted(secrets, key=len, reverse=True):
        for spelled in _spellings(secret):
            text = text.replace(spelled, MASK)
    return text


def _spellings(secret: str) -> list[str]:
    """The secret as it is, and as ODBC, SQL, Python and JSON would write it; the longest first."""
    spelled = {
        secret,
        secret.replace("}", "}}"),
        secret.replace("'", "''"),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
    }
    return sorted(spelled, key=len, reverse=True)


def _secrets(value: object) -> set[str]:
    if isinstance(value, SecretStr):
        return {value.get_secret_value()} - {""}
    if isinstance(value, BaseModel):
        return secrets_in(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return {secret for item in value for secret in _secrets(item)}
    return set()
