"""The words in which ``sif list``, ``header`` and ``info`` show a SIF: those of Apptainer."""

from __future__ import annotations

import time

from sundog.base.record.sif import PARTITION_OBJECT, PRIMARY_PARTITION, SIGNATURE_OBJECT
from sundog.image.sif.writer import ARCHITECTURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.image.sif.reader import Descriptor, Sif

_KINDS = {
    0x4001: "Def.FILE",
    0x4002: "Env.Vars",
    0x4003: "JSON.Labels",
    PARTITION_OBJECT: "FS",
    SIGNATURE_OBJECT: "Signature",
    0x4006: "JSON.Generic",
    0x4007: "Generic/Raw",
    0x4008: "Cryptographic Message",
    0x4009: "SBOM",
    0x400A: "OCI.RootIndex",
    0x400B: "OCI.Blob",
}
_FILE_SYSTEMS = {1: "Squashfs", 2: "Ext3", 3: "Archive", 4: "Raw", 5: "Encrypted squashfs"}
_PARTITIONS = {1: "System", PRIMARY_PARTITION: "*System", 3: "Data", 4: "Overlay"}
_HASHES = {1: "SHA-256", 2: "SHA-384", 3: "SHA-512", 4: "BLAKE2s-256", 5: "BLAKE2b-256"}
_NAMES = {number.decode(): name for name, number in ARCHITECTURES.items()}
_UNKNOWN = "Unknown"
_NONE = "NONE"
_RULE = "-" * 78
_COLUMNS = "{:<4} |{:<7} |{:<7} |{:<25} |{}"
_YEARS = 1 << 36  # seconds: up to the year 4147


def list_lines(sif: Sif) -> Iterator[str]:
    """Yield the lines of ``sif list``."""
    yield _RULE
    yield _COLUMNS.format("ID", "GROUP", "LINK", "SIF POSITION (start-end)", "TYPE")
    yield _RULE
    for each in sif.descriptors:
        place = f"{each.offset}-{each.end}"
        yield _COLUMNS.format(each.number, each.group or _NONE, _link(each), place, type_of(each))


def header_lines(sif: Sif) -> Iterator[str]:
    """Yield the lines of ``sif header``."""
    rows = {
        "Launch Script": sif.launch,
        "Version": sif.version,
        "Primary Architecture": _NAMES.get(sif.machine, _UNKNOWN),
        "ID": str(sif.identity),
        "Created At": _time(sif.created),
        "Modified At": _time(sif.modified),
        "Descriptors Free": sif.free,
        "Descriptors Total": sif.total,
        "Descriptors Offset": sif.table_place,
        "Descriptors Size": _size(sif.table_size),
        "Data Offset": sif.data_place,
        "Data Size": _size(sif.data_size),
    }
    for name, value in rows.items():
        yield f"{name + ':':<22}{value}"


def info_lines(each: Descriptor) -> Iterator[str]:
    """Yield the lines of ``sif info``."""
    rows: dict[str, object] = {
        "Data Type": _KINDS.get(each.kind, _UNKNOWN),
        "ID": each.number,
        "Group ID": each.group or _NONE,
        "Linked ID": _link(each).rstrip(),
        "Offset": each.offset,
        "Size": each.size,
        "Name": each.name,
    }
    if each.kind == PARTITION_OBJECT:
        file_system, kind, machine = each.partition
        rows |= {
            "Filesystem Type": _FILE_SYSTEMS.get(file_system, _UNKNOWN),
            "Partition Type": _PARTITIONS.get(kind, _UNKNOWN),
            "Architecture": _NAMES.get(machine, _UNKNOWN),
        }
    for name, value in rows.items():
        if value != "":
            yield f"  {name + ':':<18}{value}"


def type_of(each: Descriptor) -> str:
    """Return the type of an object as ``sif list`` names it."""
    name = _KINDS.get(each.kind, _UNKNOWN)
    if each.kind == PARTITION_OBJECT:
        file_system, kind, machine = each.partition
        return (
            f"{name} ({_FILE_SYSTEMS.get(file_system, _UNKNOWN)}/"
            f"{_PARTITIONS.get(kind, _UNKNOWN)}/{_NAMES.get(machine, _UNKNOWN)})"
        )
    if each.kind == SIGNATURE_OBJECT:
        number = int.from_bytes(each.extra[:4], "little")
        return f"{name} ({_HASHES.get(number, _UNKNOWN)})"
    return name


def _link(each: Descriptor) -> str:
    if not each.link:
        return _NONE
    return f"{each.link:<3} (G)" if each.links_group else str(each.link)


def _time(seconds: int) -> str:
    if not 0 <= seconds < _YEARS:
        return _UNKNOWN
    return time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(seconds))


def _size(count: int) -> str:
    return f"{count / 1024:.0f} KiB" if count >= 1024 else f"{count} B"
