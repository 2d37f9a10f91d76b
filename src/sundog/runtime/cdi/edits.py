"""Edits of CDI specifications to a container, as values in the specification's terms.

``edit_fields`` makes them of a document and checks them; ``merging`` puts those of several devices
together.  Nobody changes a value after it was made.

Specification: Container Device Interface 1.1, containerEdits.
"""

from __future__ import annotations


class ContainerEdits:
    """The edits of a device, of a file, or of all that a user asked for.

    env              strings NAME=VALUE
    device_nodes, mounts, hooks, net_devices
                     see the classes below
    additional_gids  supplementary groups; 0 means nothing, and merged edits do not have it
    intel_rdt        a group of Intel's Resource Director Technology, if there is one
    """

    __slots__ = (
        "additional_gids",
        "device_nodes",
        "env",
        "hooks",
        "intel_rdt",
        "mounts",
        "net_devices",
    )

    def __init__(
        self,
        *,
        env: tuple[bytes, ...] = (),
        device_nodes: tuple[DeviceNode, ...] = (),
        mounts: tuple[CdiMount, ...] = (),
        hooks: tuple[Hook, ...] = (),
        additional_gids: tuple[int, ...] = (),
        intel_rdt: IntelRdt | None = None,
        net_devices: tuple[NetDevice, ...] = (),
    ) -> None:
        self.env = env
        self.device_nodes = device_nodes
        self.mounts = mounts
        self.hooks = hooks
        self.additional_gids = additional_gids
        self.intel_rdt = intel_rdt
        self.net_devices = net_devices

    def is_empty(self) -> bool:
        """Tell whether there is no edit."""
        return not any(getattr(self, name) for name in self.__slots__)


class DeviceNode:
    """A device node at ``path`` in the container, which is ``host_path`` on the host.

    ``host_path`` is ``path`` if the document has none.  ``node_type`` is "b", "c", "u" or "p", or
    "" if the host's node decides; ``major`` and ``minor`` are 0 then.  ``permissions`` are letters
    of "rwm", "none", or "".  None stands for a mode or an owner that the document does not have.
    """

    __slots__ = (
        "file_mode",
        "gid",
        "host_path",
        "major",
        "minor",
        "node_type",
        "path",
        "permissions",
        "uid",
    )

    def __init__(
        self,
        path: bytes,
        host_path: bytes = b"",
        *,
        node_type: str = "",
        major: int = 0,
        minor: int = 0,
        file_mode: int | None = None,
        permissions: str = "",
        uid: int | None = None,
        gid: int | None = None,
    ) -> None:
        self.path = path
        self.host_path = host_path or path
        self.node_type = node_type
        self.major = major
        self.minor = minor
        self.file_mode = file_mode
        self.permissions = permissions
        self.uid = uid
        self.gid = gid


class CdiMount:
    """A mount of ``host_path`` at ``container_path``.

    ``options`` are those of mount(8), as the OCI runtime specification has them ("ro", "nosuid",
    "bind").  ``mount_type`` is "" for a bind, or a type of file system.
    """

    __slots__ = ("container_path", "host_path", "mount_type", "options")

    def __init__(
        self,
        host_path: bytes,
        container_path: bytes,
        mount_type: bytes = b"",
        options: tuple[bytes, ...] = (),
    ) -> None:
        self.host_path = host_path
        self.container_path = container_path
        self.mount_type = mount_type
        self.options = options


class Hook:
    """A program that runs at a point in a container's life.

    ``hook_name`` is one of HOOK_NAMES.  ``args`` begins with argv[0].  ``timeout`` is in seconds,
    or None.
    """

    __slots__ = ("args", "env", "hook_name", "path", "timeout")

    def __init__(
        self,
        hook_name: str,
        path: bytes,
        args: tuple[bytes, ...] = (),
        env: tuple[bytes, ...] = (),
        timeout: int | None = None,
    ) -> None:
        self.hook_name = hook_name
        self.path = path
        self.args = args
        self.env = env
        self.timeout = timeout


HOOK_NAMES = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)


class IntelRdt:
    """A group of Intel's Resource Director Technology: its name, its schemata, its monitoring."""

    __slots__ = ("clos_id", "enable_monitoring", "l3_cache_schema", "mem_bw_schema", "schemata")

    def __init__(
        self,
        clos_id: bytes = b"",
        l3_cache_schema: bytes = b"",
        mem_bw_schema: bytes = b"",
        schemata: tuple[bytes, ...] = (),
        *,
        enable_monitoring: bool = False,
    ) -> None:
        self.clos_id = clos_id
        self.l3_cache_schema = l3_cache_schema
        self.mem_bw_schema = mem_bw_schema
        self.schemata = schemata
        self.enable_monitoring = enable_monitoring


class NetDevice:
    """A network interface of the host, and its name in the container."""

    __slots__ = ("host_interface_name", "name")

    def __init__(self, host_interface_name: bytes, name: bytes) -> None:
        self.host_interface_name = host_interface_name
        self.name = name
