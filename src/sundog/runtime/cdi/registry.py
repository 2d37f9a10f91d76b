"""Devices of the CDI specification files in some directories, and their edits.

Specification: Container Device Interface 1.1.  If two directories have a device, the later
directory wins.  If two files of one directory have it, it can't be used, unless a later directory
has it, too.  A file that can't be used does not affect other vendors.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import printable
from sundog.base.spelling import nearest
from sundog.errors import CdiError, UnusableSpecification
from sundog.runtime.cdi.merging import merged_edits
from sundog.runtime.cdi.names import device_fault, kind_fault, shortened
from sundog.runtime.cdi.specification import CdiDevice, CdiSpecification, load_specification
from sundog.runtime.cdi.specification_file import SPECIFICATION_SUFFIXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.runtime.cdi.edits import ContainerEdits

    Warn = Callable[[str], None]
    _Found = tuple[CdiSpecification, CdiDevice]

SPECIFICATIONS_LIMIT = 1000  # in a directory
_NAMED_LIMIT = 12  # in a hint


def edits_for(names: Sequence[bytes], directories: Sequence[bytes], warn: Warn) -> ContainerEdits:
    """Return the merged edits of what ``names`` ask for, in the order that CDI demands.

    A name is VENDOR/CLASS=DEVICE; VENDOR/CLASS, for all devices of that kind; or the path of a
    file, absolute or with "." as its first character, for all devices in it.  Directories that are
    absent count as empty; the last one wins.  The edits need no further work: an environment
    variable, a node's path and a mount's destination each occur once, and the mounts are sorted so
    that none covers another one.

    ``warn`` gets a line about each file that can't be used, if its vendor was asked for.  Raises
    CdiError if a device is missing, in conflict, or in a file that can't be used.
    """
    registry: CdiRegistry | None = None
    found: list[_Found] = []
    vendors: set[str] = set()
    for name in names:
        if name[:1] in (b"/", b"."):
            specification = load_specification(name)
            found += [(specification, device) for device in specification.devices]
            continue
        registry = registry or CdiRegistry(directories)
        asked = name.decode("utf-8", "surrogateescape")
        found += registry.devices_of(asked)
        vendors.add(asked.partition("/")[0])
    if registry is not None:
        for fault in registry.faults:
            if fault.vendor in vendors:
                warn(f"can't use {fault.message}")
    return _edits_of(found)


def edits_for_all(directories: Sequence[bytes], warn: Warn) -> ContainerEdits:
    """Return the merged edits of all devices of all files; there may be none.

    ``warn`` gets a line about each file and each device that can't be used.
    """
    registry = CdiRegistry(directories)
    registry.complain(warn)
    return _edits_of(list(registry.devices.values()))


def device_names(directories: Sequence[bytes], warn: Warn) -> list[str]:
    """Return the names VENDOR/CLASS=DEVICE that can be asked for, sorted.

    ``warn`` gets a line about each file and each device that can't be used.
    """
    registry = CdiRegistry(directories)
    registry.complain(warn)
    return sorted(registry.devices)


def _edits_of(found: Sequence[_Found]) -> ContainerEdits:
    """Return the merged edits of devices, each once; a file's own come before its first device."""
    edits = []
    seen: set[object] = set()
    for specification, device in found:
        for part in (specification, device):
            if part not in seen:
                seen.add(part)
                edits.append(part.edits)
    return merged_edits(edits)


class CdiRegistry:
    """The contents of the specification files in ``directories``.

    devices    the devices that can be asked for, by their names
    conflicts  the names that two files of one directory have, and these files
    faults     the files that can't be used
    """

    __slots__ = ("conflicts", "devices", "directories", "faults")

    def __init__(self, directories: Sequence[bytes]) -> None:
        self.directories = directories
        self.devices: dict[str, _Found] = {}
        self.conflicts: dict[str, list[bytes]] = {}
        self.faults: list[UnusableSpecification] = []
        for directory in directories:
            self._add_directory(directory)

    def _add_directory(self, directory: bytes) -> None:
        """Add the devices of a directory, which win over those that are there."""
        found: dict[str, list[_Found]] = {}
        for path in self._specification_paths(directory):
            try:
                specification = load_specification(path)
            except UnusableSpecification as fault:
                self.faults.append(fault)
                continue
            for device in specification.devices:
                name = specification.full_name(device)
                found.setdefault(name, []).append((specification, device))
        for name, places in found.items():
            self.devices.pop(name, None)
            self.conflicts.pop(name, None)
            if len(places) == 1:
                self.devices[name] = places[0]
            else:
                self.conflicts[name] = [specification.path for specification, _ in places]

    def _specification_paths(self, directory: bytes) -> list[bytes]:
        """Return the paths of the files in a directory that are specifications, sorted."""
        shown = printable(directory)
        try:
            with os.scandir(directory) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if entry.name.endswith(SPECIFICATION_SUFFIXES)
                    and not entry.is_dir(follow_symlinks=False)
                ]
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                reason = os.strerror(error.errno or 0)
                self.faults.append(UnusableSpecification(f"{shown}: {reason}"))
            return []
        if len(names) > SPECIFICATIONS_LIMIT:
            message = f"{shown}: more than {SPECIFICATIONS_LIMIT} files"
            self.faults.append(UnusableSpecification(message))
            return []
        return [directory.rstrip(b"/") + b"/" + name for name in sorted(names)]

    def devices_of(self, asked: str) -> list[_Found]:
        """Return the device VENDOR/CLASS=DEVICE, or all devices of VENDOR/CLASS.

        Raises CdiError if there is none, or one that can't be used.
        """
        kind, equals, device = asked.partition("=")
        fault = kind_fault(kind) or (device_fault(device) if equals else "")
        if fault:
            raise CdiError(
                f"not the name of a CDI device: {shortened(asked)}: {fault}",
                "write VENDOR/CLASS=DEVICE, for example nvidia.com/gpu=0",
            )
        if equals:
            names = [asked]
        else:
            known = [*self.devices, *self.conflicts]
            names = [name for name in known if name.startswith(f"{kind}=")]
        for name in names:
            if name in self.conflicts:
                files = " and ".join(map(printable, self.conflicts[name]))
                raise CdiError(
                    f"two files have the CDI device {name}: {files}",
                    f"remove one; or put the right one into {printable(self.directories[-1])}",
                )
        if not names or names[0] not in self.devices:
            raise self._missing(asked, kind)
        return [self.devices[name] for name in names]

    def _missing(self, asked: str, kind: str) -> CdiError:
        """Return the error about a device that no file has, with what may be the cause."""
        message = f"no such CDI device: {asked}"
        vendor = kind.partition("/")[0]
        for fault in self.faults:
            if fault.vendor in (vendor, ""):
                return CdiError(f"{message}; can't use {fault.message}", fault.hint)
        kinds = {name.partition("=")[0] for name in self.devices}
        of_kind = [name for name in self.devices if name.startswith(f"{kind}=")]
        if of_kind:
            meant = nearest(asked, of_kind)
            hint = f"did you mean {meant}?" if meant else f"there are: {_some_of(of_kind)}"
        elif kinds:
            hint = f"the kinds of devices are: {_some_of(sorted(kinds))}"
        else:
            looked = ", ".join(map(printable, self.directories))
            hint = f"no CDI file is in {looked}; the vendor's generator makes one"
        return CdiError(message, hint)

    def complain(self, warn: Warn) -> None:
        """Pass on a line about each file and each device that can't be used."""
        for fault in self.faults:
            warn(f"can't use {fault.message}")
        for name, paths in self.conflicts.items():
            warn(f"can't use {name}: it is in {' and in '.join(map(printable, paths))}")


def _some_of(names: Sequence[str]) -> str:
    """Return names for a hint."""
    more = len(names) - _NAMED_LIMIT
    return ", ".join(names[:_NAMED_LIMIT]) + (f", and {more} more" if more > 0 else "")
