"""Puts another schedule into a pipeline's config.yaml: validated first, then replaced in one step."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

import yaml

from etl_cli.runtime.config.load import load_config, read_environment
from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import ConfigError, EtlError
from etl_cli.systemd.command import with_sudo
from etl_cli.systemd.config_edit import with_schedule


def change_schedule(directory: Path, schedule: str | None) -> Config:
    """The configuration with the new schedule, after the file holds it. Raises ConfigError, EtlError.

    Nothing is written where the file would not be valid, or would differ in more than this key.
    """
    file = (directory / "config.yaml").resolve()
    before = read_text(file)
    after = with_schedule(before, schedule)
    _check_only_schedule(before, after)
    config = _validated(after, directory)
    if after != before:
        _replace(file, after)
    return config


def digest_of(directory: Path) -> str:
    """SHA-256 of config.yaml's bytes: by it the service says which one it has taken."""
    return hashlib.sha256((directory / "config.yaml").read_bytes()).hexdigest()


def read_text(file: Path) -> str:
    """The text with its own line ends."""
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read ({error})", "it must be a readable UTF-8 file") from error


def _check_only_schedule(before: str, after: str) -> None:
    old, new = (yaml.safe_load(text) for text in (before, after))
    old.pop("schedule", None)
    new.pop("schedule", None)
    if old != new:
        raise ConfigError("config.yaml is written in a way that cannot be edited safely", "edit `schedule` by hand")


def _validated(text: str, directory: Path) -> Config:
    """The new text as `load_config` sees it, with the variables of the pipeline's own directory."""
    with tempfile.TemporaryDirectory(prefix="etl-config-") as place:
        (Path(place) / "config.yaml").write_bytes(text.encode())
        try:
            return load_config(Path(place), read_environment(directory))
        except ConfigError as error:
            told = error.message.replace(place, str(directory))
            raise ConfigError(f"{told}\nnothing was changed", error.remedy) from None


def _replace(file: Path, text: str) -> None:
    """In one step, on disk, with the owner and the mode that the file had."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        status = file.stat()
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(text.encode())
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), status.st_uid, status.st_gid)
            os.fchmod(stream.fileno(), status.st_mode & 0o7777)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        raise EtlError(f"{file} cannot be written ({error.strerror})", f"run: {with_sudo()}") from error
    finally:
        temporary.unlink(missing_ok=True)
