"""The wheel of this project that a pipeline carries in vendor/.

Both ways to it, building from a checkout and packing an installed distribution again, end in one
packer, so that the same content gives the same bytes on every host.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from etl_cli.runtime.errors import EtlError
from etl_cli.scaffold.origin import Origin

DISTRIBUTION = "etl-cli"
# what an installer adds to a distribution; not part of the wheel that it came from
_INSTALLED_ONLY = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
_TIMESTAMP = (2020, 2, 2, 0, 0, 0)


class WheelError(EtlError):
    """The project's own wheel cannot be made here."""


@dataclass(frozen=True)
class Wheel:
    """A wheel: its file name and its bytes."""

    name: str
    content: bytes


def own_wheel(origin: Origin) -> Wheel:
    """The wheel of the etl-cli that is running. Raises WheelError."""
    if origin.checkout is not None:
        return pack(_built_entries(origin.checkout))
    return pack(_installed_entries(origin.package.parent))


def pack(entries: Mapping[str, bytes]) -> Wheel:
    """A wheel of `entries` (path: bytes, without RECORD).

    Deterministic: sorted, one time, one mode, and stored, since compressed bytes differ between
    versions of zlib. The form is that of the binary distribution format, PEP 427.
    """
    information = _dist_info(entries)
    # dist-info stands last, as PEP 427 recommends
    order = sorted(entries, key=lambda path: (path.startswith(information), path))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in order:
            archive.writestr(_zip_entry(path), entries[path])
        record = f"{information}RECORD"
        archive.writestr(_zip_entry(record), _record(order, entries, record))
    return Wheel(_file_name(entries, information), buffer.getvalue())


def _built_entries(checkout: Path) -> dict[str, bytes]:
    try:
        from hatchling.builders.wheel import WheelBuilder
    except ImportError as error:
        raise WheelError(
            "vendor/ needs a wheel of this checkout, and hatchling, which builds it, is not installed",
            "run scripts/setup-dev.sh, or: pip install hatchling",
        ) from error
    try:
        with tempfile.TemporaryDirectory() as directory:
            built = next(WheelBuilder(str(checkout)).build(directory=directory, versions=["standard"]))
            with zipfile.ZipFile(built) as archive:
                names = [name for name in archive.namelist() if not name.endswith(".dist-info/RECORD")]
                return {name: archive.read(name) for name in names}
    except Exception as error:  # the builder raises many kinds for a bad pyproject.toml or a missing file
        text = " ".join(str(error).split())
        raise WheelError(f"the wheel of {checkout} cannot be built: {text}", "mend the checkout") from error


def _installed_entries(site: Path) -> dict[str, bytes]:
    here = site.resolve()
    try:
        distribution = metadata.distribution(DISTRIBUTION)
        # the RECORD itself: `distribution.files` leaves out what is missing, from Python 3.12 on
        record = distribution.read_text("RECORD") or ""
    except metadata.PackageNotFoundError:
        record = ""
    if not record or Path(str(distribution.locate_file(""))).resolve() != here:
        raise WheelError(f"{here} has no RECORD of an installed {DISTRIBUTION}", "install etl-cli again with pip")
    paths = [row[0] for row in csv.reader(record.splitlines()) if _belongs_to_wheel(row[0])]
    try:
        return {path: (here / path).read_bytes() for path in paths}
    except OSError as error:
        raise WheelError(
            f"{error.filename} of the installed {DISTRIBUTION} cannot be read", "install it again"
        ) from error


def _belongs_to_wheel(path: str) -> bool:
    parts = path.split("/")
    if ".." in parts or "__pycache__" in parts:  # scripts are made again from entry_points.txt
        return False
    return not (parts[0].endswith(".dist-info") and len(parts) == 2 and parts[1] in _INSTALLED_ONLY)


def _dist_info(entries: Mapping[str, bytes]) -> str:
    return next(path.removesuffix("METADATA") for path in entries if path.endswith(".dist-info/METADATA"))


def _file_name(entries: Mapping[str, bytes], information: str) -> str:
    tag = re.search(r"^Tag: (\S+)", entries[f"{information}WHEEL"].decode(), re.MULTILINE)
    return f"{information.removesuffix('.dist-info/')}-{tag[1] if tag else 'py3-none-any'}.whl"


def _zip_entry(path: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, _TIMESTAMP)
    entry.create_system = 3  # Unix, on every host
    entry.external_attr = 0o100644 << 16
    return entry


def _record(order: list[str], entries: Mapping[str, bytes], record: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for path in order:
        checksum = base64.urlsafe_b64encode(hashlib.sha256(entries[path]).digest()).decode().rstrip("=")
        writer.writerow((path, f"sha256={checksum}", len(entries[path])))
    writer.writerow((record, "", ""))
    return text.getvalue()
