"""The fields of containerEdits.

Specification: Container Device Interface 1.1, "OCI Edits".
"""

from __future__ import annotations

from sundog.runtime.cdi.edits import (
    HOOK_NAMES,
    CdiMount,
    ContainerEdits,
    DeviceNode,
    Hook,
    IntelRdt,
    NetDevice,
)
from sundog.runtime.cdi.fields import (
    INT64_MAX,
    UINT32_MAX,
    VERSION_0_4,
    VERSION_0_5,
    VERSION_0_7,
    VERSION_1_1,
    CdiField,
    Misfit,
    Shape,
    list_of,
    read_boolean,
    read_bytes,
    read_path,
    read_string,
    read_variable,
    whole_number,
    word_of,
)
from sundog.runtime.cdi.names import first_repeated, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CLOS_ID_LIMIT = 4095
_NO_PERMISSIONS = "none"
_BIND_TYPES = (b"", b"bind", b"none")
_BIND_OPTIONS = (b"bind", b"rbind")

_read_bytes_list = list_of(read_bytes)
_read_variable_list = list_of(read_variable)
_read_int64 = whole_number(-INT64_MAX - 1, INT64_MAX)
_read_uint32 = whole_number(0, UINT32_MAX)


def _read_permissions(value: object, version: int) -> str:
    """Return letters of "rwm", or "none"."""
    text = read_string(value, version)
    if text != _NO_PERMISSIONS and text.strip("rwm"):
        raise Misfit(f'{shortened(text)} is neither letters of "rwm" nor "none"')
    return text


def _read_clos_id(value: object, version: int) -> bytes:
    """Return the name of a directory in resctrl, or "/", which is its root."""
    name = read_bytes(value, version)
    if name != b"/" and (name in (b".", b"..") or b"/" in name or b"\n" in name):
        raise Misfit(f"{shortened(value)} is not the name of a file")
    if len(name) > _CLOS_ID_LIMIT:
        raise Misfit(f"longer than {_CLOS_ID_LIMIT} bytes")
    return name


def _make_cdi_mount(host_path: bytes, container_path: bytes, **more: Any) -> CdiMount:
    """Make a mount; the source of a bind must be an absolute path."""
    mount = CdiMount(host_path, container_path, **more)
    is_bind = mount.mount_type in _BIND_TYPES or not set(_BIND_OPTIONS).isdisjoint(mount.options)
    if is_bind and not host_path.startswith(b"/"):
        raise Misfit("hostPath is not an absolute path")
    return mount


def _read_net_devices(value: object, version: int) -> tuple[NetDevice, ...]:
    """Return network devices; each interface and each name may be there once."""
    devices: tuple[NetDevice, ...] = list_of(_NET_DEVICE.read)(value, version)
    for names in (
        [device.host_interface_name for device in devices],
        [device.name for device in devices],
    ):
        twice = first_repeated(names)
        if twice is not None:
            raise Misfit(f"the name {shortened(twice.decode())} is there twice")
    return devices


_DEVICE_NODE = Shape(
    DeviceNode,
    {
        "path": CdiField("path", read_path),
        "hostPath": CdiField("host_path", read_path, VERSION_0_5),
        "type": CdiField("node_type", word_of("", "b", "c", "u", "p")),
        "major": CdiField("major", _read_int64),
        "minor": CdiField("minor", _read_int64),
        "fileMode": CdiField("file_mode", _read_uint32),
        "permissions": CdiField("permissions", _read_permissions),
        "uid": CdiField("uid", _read_uint32),
        "gid": CdiField("gid", _read_uint32),
    },
    ("path",),
)
_CDI_MOUNT = Shape(
    _make_cdi_mount,
    {
        "hostPath": CdiField("host_path", read_bytes),
        "containerPath": CdiField("container_path", read_path),
        "type": CdiField("mount_type", read_bytes, VERSION_0_4),
        "options": CdiField("options", _read_bytes_list),
    },
    ("hostPath", "containerPath"),
)
_HOOK = Shape(
    Hook,
    {
        "hookName": CdiField("hook_name", word_of(*HOOK_NAMES)),
        "path": CdiField("path", read_path),
        "args": CdiField("args", _read_bytes_list),
        "env": CdiField("env", _read_variable_list),
        "timeout": CdiField("timeout", whole_number(1, INT64_MAX)),
    },
    ("hookName", "path"),
)
_INTEL_RDT = Shape(
    IntelRdt,
    {
        "closID": CdiField("clos_id", _read_clos_id),
        "l3CacheSchema": CdiField("l3_cache_schema", read_bytes),
        "memBwSchema": CdiField("mem_bw_schema", read_bytes),
        "schemata": CdiField("schemata", _read_bytes_list, VERSION_1_1),
        "enableMonitoring": CdiField("enable_monitoring", read_boolean, VERSION_1_1),
        "enableCMT": CdiField("", read_boolean, before=VERSION_1_1),
        "enableMBM": CdiField("", read_boolean, before=VERSION_1_1),
    },
    (),
)
_NET_DEVICE = Shape(
    NetDevice,
    {
        "hostInterfaceName": CdiField("host_interface_name", read_bytes),
        "name": CdiField("name", read_bytes),
    },
    ("hostInterfaceName", "name"),
)
CONTAINER_EDITS = Shape(
    ContainerEdits,
    {
        "env": CdiField("env", _read_variable_list),
        "deviceNodes": CdiField("device_nodes", list_of(_DEVICE_NODE.read)),
        "mounts": CdiField("mounts", list_of(_CDI_MOUNT.read)),
        "hooks": CdiField("hooks", list_of(_HOOK.read)),
        "additionalGids": CdiField("additional_gids", list_of(_read_uint32), VERSION_0_7),
        "intelRdt": CdiField("intel_rdt", _INTEL_RDT.read, VERSION_0_7),
        "netDevices": CdiField("net_devices", _read_net_devices, VERSION_1_1),
    },
    (),
)
