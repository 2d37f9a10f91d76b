"""A CDI specification: what one file says about the devices of one kind.

Specification: Container Device Interface 1.1, versions 0.3 to 1.1.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import CdiError, UnusableSpecification
from sundog.runtime.cdi.edit_fields import CONTAINER_EDITS
from sundog.runtime.cdi.edits import ContainerEdits
from sundog.runtime.cdi.fields import (
    CDI_VERSIONS,
    VERSION_0_5,
    VERSION_0_6,
    CdiField,
    Misfit,
    Shape,
    expected,
    read_string,
    read_string_map,
    since_fault,
)
from sundog.runtime.cdi.names import device_fault, kind_fault, shortened
from sundog.runtime.cdi.specification_file import GENERATOR_HINT, load_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NO_EDITS = ContainerEdits()


class CdiDevice:
    """A device: its name within its kind, and what it changes."""

    __slots__ = ("edits", "name")

    def __init__(self, name: str, edits: ContainerEdits = _NO_EDITS) -> None:
        self.name = name
        self.edits = edits


class CdiSpecification:
    """The devices of a kind, and the edits that each of them brings, too.

    ``path`` is the file.
    """

    __slots__ = ("devices", "edits", "kind", "path")

    def __init__(
        self,
        path: bytes,
        kind: str,
        devices: tuple[CdiDevice, ...],
        edits: ContainerEdits = _NO_EDITS,
    ) -> None:
        self.path = path
        self.kind = kind
        self.devices = devices
        self.edits = edits

    def full_name(self, device: CdiDevice) -> str:
        """Return the name with which a user asks for a device of this specification."""
        return f"{self.kind}={device.name}"


def load_specification(path: bytes) -> CdiSpecification:
    """Return the specification in a file, wholly checked.  Raises UnusableSpecification."""
    vendor = ""
    try:
        value = load_values(path)
        vendor = _stated_vendor(value)
        return read_specification(path, value)
    except Misfit as misfit:
        message, hint = f"{printable(path)}: {misfit}", misfit.hint or GENERATOR_HINT
    except CdiError as error:
        message, hint = error.message, error.hint
    raise UnusableSpecification(message, hint, vendor)


def read_specification(path: bytes, value: object) -> CdiSpecification:
    """Return the specification that ``value`` is.  Raises Misfit."""
    if type(value) is not dict or not value:
        raise Misfit("not a CDI specification: the file has no object")
    # Read the version first: it decides which fields are allowed, and it may come last.
    version = _version_number(_named_field(value, "cdiVersion"))
    specification: CdiSpecification = _SPECIFICATION.read(value, version, path=path)
    return specification


def _named_field(value: dict[str, Any], name: str) -> Any:
    """Return a field of an object, None if it is absent; the case of its name has no effect."""
    if name in value:
        return value[name]
    return next((value[key] for key in value if key.lower() == name.lower()), None)


def _version_number(value: object) -> int:
    """Return the index of a version.  Raises Misfit if Sundog does not know it."""
    if value is None:
        raise Misfit("cdiVersion is missing")
    text = value.removeprefix("v") if isinstance(value, str) else ""
    if text not in CDI_VERSIONS:
        raise Misfit(
            f"cdiVersion: {shortened(value)} is unknown",
            f"Sundog knows the versions {CDI_VERSIONS[0]} to {CDI_VERSIONS[-1]}",
        )
    return CDI_VERSIONS.index(text)


def _stated_vendor(value: object) -> str:
    """Return the vendor in ``kind``, "" if there is none."""
    kind = _named_field(value, "kind") if isinstance(value, dict) else None
    return kind.partition("/")[0] if isinstance(kind, str) and not kind_fault(kind) else ""


def _read_kind(value: object, version: int) -> str:
    """Return VENDOR/CLASS."""
    kind = read_string(value, version)
    fault = kind_fault(kind)
    if fault:
        raise Misfit(fault)
    if version < VERSION_0_6 and "." in kind.partition("/")[2]:
        raise Misfit(f"the class has a dot: {since_fault(VERSION_0_6, version)}")
    return kind


def _read_device_name(value: object, version: int) -> str:
    """Return the name of a device within its kind."""
    name = read_string(value, version)
    fault = device_fault(name)
    if fault:
        raise Misfit(fault)
    if version < VERSION_0_5 and name[0].isdigit():
        raise Misfit(f"{name} begins with a digit: {since_fault(VERSION_0_5, version)}")
    return name


def _make_cdi_device(name: str, edits: ContainerEdits = _NO_EDITS) -> CdiDevice:
    """Make a device; one that changes nothing is a mistake."""
    if edits.is_empty():
        raise Misfit("containerEdits is missing or empty")
    return CdiDevice(name, edits)


def _read_devices(value: object, version: int) -> tuple[CdiDevice, ...]:
    """Return the devices of a kind; a misfit has the name of the device as its place."""
    if type(value) is not list:
        raise expected("a list", value)
    devices: dict[str, CdiDevice] = {}
    for number, item in enumerate(value, 1):
        try:
            device = _CDI_DEVICE.read(item, version)
        except Misfit as misfit:
            name = _named_field(item, "name") if isinstance(item, dict) else None
            is_named = isinstance(name, str) and not device_fault(name)
            raise misfit.within(f"device {name}" if is_named else f"device {number}") from None
        if device.name in devices:
            raise Misfit(f"device {device.name} is there twice")
        devices[device.name] = device
    return tuple(devices.values())


_CDI_DEVICE = Shape(
    _make_cdi_device,
    {
        "name": CdiField("name", _read_device_name),
        "annotations": CdiField("", read_string_map, VERSION_0_6),
        "containerEdits": CdiField("edits", CONTAINER_EDITS.read),
    },
    ("name",),
)
_SPECIFICATION = Shape(
    CdiSpecification,
    {
        "cdiVersion": CdiField("", read_string),
        "kind": CdiField("kind", _read_kind),
        "annotations": CdiField("", read_string_map, VERSION_0_6),
        "devices": CdiField("devices", _read_devices),
        "containerEdits": CdiField("edits", CONTAINER_EDITS.read),
    },
    ("kind", "devices"),
)
