"""CAST and CONVERT: from every type to every other that the stand-in knows."""

from __future__ import annotations

from etl_cli.sandbox.standin.errors import implicit_conversion_refused, not_supported
from etl_cli.sandbox.standin.sql import spatial, temporal
from etl_cli.sandbox.standin.sql.convert.binary import to_binary, to_guid
from etl_cli.sandbox.standin.sql.convert.numbers import Conversion, fit, parse_number, rescale, to_number
from etl_cli.sandbox.standin.sql.convert.text import fit_text, text_length, to_text
from etl_cli.sandbox.standin.types import SqlType, Variant

__all__ = ["Conversion", "conversion", "fit", "fit_text", "parse_number", "rescale", "text_length"]


def conversion(source: SqlType, target: SqlType, style: int | None = None) -> Conversion:
    """Return the function that turns a value of source into one of target; None stays None."""
    if source == target:
        return lambda value: value
    step = _step(source, target, style)
    return lambda value: None if value is None else step(value)


def _step(source: SqlType, target: SqlType, style: int | None) -> Conversion:
    if target.name == "sql_variant":
        return lambda value: value if isinstance(value, Variant) else Variant(source, value)
    if source.name == "sql_variant":
        return lambda value: conversion(value.type, target, style)(value.value)
    if target.is_text or target.name == "xml":
        return to_text(source, target, style)
    if target.is_binary:
        return to_binary(source, target, style)
    if target.is_number:
        return to_number(source, target)
    if target.is_temporal:
        return _to_temporal(source, target)
    if target.name == "uniqueidentifier":
        return to_guid(source, target)
    return _to_user_type(source, target)


def _to_temporal(source: SqlType, target: SqlType) -> Conversion:
    if source.is_temporal:
        return lambda value: temporal.convert(source, target, value)
    if source.is_text:
        return lambda text: temporal.parse(target, text)
    if source.is_exact or source.is_float or source.is_binary:
        if target.name in ("datetime", "smalldatetime"):
            raise not_supported(f"conversion of {source.label} to {target.name}")
        raise implicit_conversion_refused(source.label, target.label)
    raise implicit_conversion_refused(source.label, target.label)


def _to_user_type(source: SqlType, target: SqlType) -> Conversion:
    if source.name == target.name:
        return lambda value: value
    if source.is_text:
        return lambda text: spatial.parse(target.name, text)
    raise implicit_conversion_refused(source.label, target.label)
