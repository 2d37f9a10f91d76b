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

CLOS_ID_LIMIT = 4095
NO_PERMISSIONS = "none"
BIND_TYPES = (b"", b"bind", b"none")
BIND_OPTIONS = (b"bind", b"rbind")

read_bytes_list = list_of(read_bytes)
read_variable_list = list_of(read_variable)
read_int64 = whole_number(-INT64_MAX - 1, INT64_MAX)
read_uint32 = whole_number(0, UINT32_MAX)


def read_permissions(value: object, version: int) -> str:
    """Return letters of "rwm", or "none"."""
    text = read_string(value, version)
    if text != NO_PERMISSIONS and text.strip("rwm"):
        raise Misfit(f'{shortened(text)} is neither letters of "rwm" nor "none"')
    return text


def read_clos_id(value: object, version: int) -> bytes:
    """Return the name of a directory in resctrl, or "/", which is its root."""
    name = read_bytes(value, version)
    if name != b"/" and (name in (b".", b"..") or b"/" in name or b"\n" in name):
        raise Misfit(f"{shortened(value)} is not the name of a file")
    if len(name) > CLOS_ID_LIMIT:
        raise Misfit(f"longer than {CLOS_ID_LIMIT} bytes")
    return name


def make_cdi_mount(host_path: bytes, container_path: bytes, **more: Any) -> CdiMount:
    """Make a mount; the source of a bind must be an absolute path."""
    mount = CdiMount(host_path, container_path, **more)
    is_bind = mount.mount_type in BIND_TYPES or not set(BIND_OPTIONS).isdisjoint(mount.options)
    if is_bind and not host_path.startswith(b"/"):
        raise Misfit("hostPath is not an absolute path")
    return mount


def read_net_devices(value: object, version: int) -> tuple[NetDevice, ...]:
    """Return network devices; each interface and each name may be there once."""
    devices: tuple[NetDevice, ...] = list_of(NET_DEVICE.read)(value, version)
    for names in (
        [device.host_interface_name for device in devices],
        [device.name for device in devices],
    ):
        twice = first_repeated(names)
        if twice is not None:
            raise Misfit(f"the name {shortened(twice.decode())} is there twice")
    return devices


DEVICE_NODE = Shape(
    DeviceNode,
    {
        "path": CdiField("path", read_path),
        "hostPath": CdiField("host_path", read_path, VERSION_0_5),
        "type": CdiField("node_type", word_of("", "b", "c", "u", "p")),
        "major": CdiField("major", read_int64),
        "minor": CdiField("minor", read_int64),
        "fileMode": CdiField("file_mode", read_uint32),
        "permissions": CdiField("permissions", read_permissions),
        "uid": CdiField("uid", read_uint32),
        "gid": CdiField("gid", read_uint32),
    },
    ("path",),
)
CDI_MOUNT = Shape(
    make_cdi_mount,
    {
        "hostPath": CdiField("host_path", read_bytes),
        "containerPath": CdiField("container_path", read_path),
        "type": CdiField("mount_type", read_bytes, VERSION_0_4),
        "options": CdiField("options", read_bytes_list),
    },
    ("hostPath", "containerPath"),
)
HOOK = Shape(
    Hook,
    {
        "hookName": CdiField("hook_name", word_of(*HOOK_NAMES)),
        "path": CdiField("path", read_path),
        "args": CdiField("args", read_bytes_list),
        "env": CdiField("env", read_variable_list),
        "timeout": CdiField("timeout", whole_number(1, INT64_MAX)),
    },
    ("hookName", "path"),
)
INTEL_RDT = Shape(
    IntelRdt,
    {
        "closID": CdiField("clos_id", read_clos_id),
        "l3CacheSchema": CdiField("l3_cache_schema", read_bytes),
        "memBwSchema": CdiField("mem_bw_schema", read_bytes),
        "schemata": CdiField("schemata", read_bytes_list, VERSION_1_1),
        "enableMonitoring": CdiField("enable_monitoring", read_boolean, VERSION_1_1),
        "enableCMT": CdiField("", read_boolean, before=VERSION_1_1),
        "enableMBM": CdiField("", read_boolean, before=VERSION_1_1),
    },
    (),
)
NET_DEVICE = Shape(
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
        "env": CdiField("env", read_variable_list),
        "deviceNodes": CdiField("device_nodes", list_of(DEVICE_NODE.read)),
        "mounts": CdiField("mounts", list_of(CDI_MOUNT.read)),
        "hooks": CdiField("hooks", list_of(HOOK.read)),
        "additionalGids": CdiField("additional_gids", list_of(read_uint32), VERSION_0_7),
        "intelRdt": CdiField("intel_rdt", INTEL_RDT.read, VERSION_0_7),
        "netDevices": CdiField("net_devices", read_net_devices, VERSION_1_1),
    },
    (),
)
