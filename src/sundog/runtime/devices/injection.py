"""Turn the edits of CDI into what an unprivileged container can have.

What it cannot have is named in a warning: groups that the user does not have, network interfaces,
and groups of Intel's Resource Director Technology.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.base.kernel.modes import S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT
from sundog.errors import SundogError
from sundog.runtime.container.mount_attributes import ATTRIBUTES, BINDS, IGNORED
from sundog.runtime.container.operations import CREATED, OPTIONAL, FileMount, TmpfsMount
from sundog.runtime.container.paths import is_directory
from sundog.runtime.devices.hooks import HookEffects
from sundog.runtime.devices.linker import LinkerMount, directory_of
from sundog.runtime.devices.mounts import STALE_HINT, DriverBind, HostNode, LinkMount
from sundog.runtime.linker.cache import CachedLibrary, cached_library, is_library_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.cdi.edits import CdiMount, ContainerEdits, DeviceNode, Hook
    from sundog.runtime.container.operations import DetachedMount

    _Warn = Callable[[str], None]

_HOST_DEVICES = b"/dev/"
_NODE_TYPES = {"b": S_IFBLK, "c": S_IFCHR, "u": S_IFCHR, "p": S_IFIFO}
NO_ACCESS = "none"
BIND_MOUNT_TYPES = (b"", b"none", b"bind")
_DRIVER_PARAMETERS = b"/proc/driver/nvidia/params"
_MODIFIES_NODES, _KEEPS_NODES = b"ModifyDeviceFiles: 1", b"ModifyDeviceFiles: 0"
_PARAMETERS_LIMIT = 1 << 16


class Injection:
    """Parts for a container: ``mounts`` in their order, ``variables``, and ``hooks`` to run."""

    __slots__ = ("hooks", "mounts", "variables")

    def __init__(
        self,
        mounts: list[DetachedMount],
        variables: list[tuple[bytes, bytes]],
        hooks: list[Hook],
    ) -> None:
        self.mounts = mounts
        self.variables = variables
        self.hooks = hooks


def injection(
    edits: ContainerEdits, warn: _Warn, *, shares_dev: bool, is_temporary: bool = False
) -> Injection:
    """Return what ``edits`` mean for a container.

    ``shares_dev`` tells whether the container sees the host's /dev, ``is_temporary`` whether
    everything that is written to its root is gone at its end.  ``warn`` gets a line for each
    part that is not possible.  Raises SundogError if a file or a device of the host is missing.
    """
    effects = HookEffects(edits.hooks)
    mounts: list[DetachedMount] = []
    for node in edits.device_nodes:
        mounts += _node_mounts(node, warn, shares_dev=shares_dev)
    for mount in edits.mounts:
        mounts += _driver_mounts(mount, warn)
    taken = {each.destination for each in mounts}
    files, others = _injected_libraries(edits.mounts, effects.folders)
    libraries = files + others
    links = list(effects.links)
    for library in files:
        directory, _, name = library.path.rpartition(b"/")
        links.append((name, directory + b"/" + library.name))
    for target, place in links:
        is_host = shares_dev and place.startswith(_HOST_DEVICES)  # udev makes these links
        if place not in taken and not is_host:
            taken.add(place)
            mounts.append(LinkMount(target, place))
    if effects.keeps_nodes:
        mounts += _parameter_mounts()
    if effects.folders or effects.compat:
        libraries += _linked_libraries(effects.links, effects.folders, libraries)
        mounts.append(LinkerMount(effects.folders, libraries, effects.compat, is_file=is_temporary))
    _refuse_impossible(edits, warn)
    variables = [_split_variable(text) for text in edits.env]
    return Injection(mounts, variables, effects.others)


def _split_variable(text: bytes) -> tuple[bytes, bytes]:
    """Split ``NAME=VALUE``."""
    name, _, value = text.partition(b"=")
    return name, value


def _node_mounts(node: DeviceNode, warn: _Warn, *, shares_dev: bool) -> list[DetachedMount]:
    """Return the mounts for a device node.  Raises SundogError if the host does not have it."""
    if node.permissions == NO_ACCESS:
        return []
    shown = printable(node.host_path)
    try:
        status = os.stat(node.host_path)
    except OSError as error:
        raise SundogError(f"no device {shown}: {error.strerror}", STALE_HINT) from None
    kind = status.st_mode & S_IFMT
    if node.node_type in _NODE_TYPES and kind != _NODE_TYPES[node.node_type]:
        raise SundogError(f"{shown} is not a device of type {node.node_type}", STALE_HINT)
    wanted = os.R_OK if node.permissions == "r" else os.R_OK | os.W_OK
    if not os.access(node.host_path, wanted, effective_ids=True):
        warn(f"no permission to use the device {shown}: your job or your groups may lack it")
    if shares_dev and node.path == node.host_path and node.path.startswith(_HOST_DEVICES):
        return [HostNode(node.path)]
    return [DriverBind(node.host_path, node.path, 0)]


def _driver_mounts(mount: CdiMount, warn: _Warn) -> list[DetachedMount]:
    """Return the mount of the host's files, or none if its type is not possible."""
    shown = printable(mount.container_path)
    if mount.mount_type == b"tmpfs":
        return [TmpfsMount(mount.container_path, CREATED)]
    if mount.mount_type not in BIND_MOUNT_TYPES:
        warn(f"{shown}: a mount of type {printable(mount.mount_type)} is not possible")
        return []
    attributes = 0
    for option in mount.options:
        name = option.decode("ascii", "replace")
        plain = name[1:] if name[:1] == "r" and name[1:] in ATTRIBUTES else name
        if plain in ATTRIBUTES:
            attributes |= ATTRIBUTES[plain]
        elif name not in IGNORED and name not in BINDS:
            warn(f"{shown}: mount option {printable(option)} has no effect")
    return [DriverBind(mount.host_path, mount.container_path, attributes)]


def _injected_libraries(
    mounts: tuple[CdiMount, ...], folders: list[bytes]
) -> tuple[list[CachedLibrary], list[CachedLibrary]]:
    """Return the libraries that ``mounts`` put into ``folders``, with their places there.

    These are the mounts of one library each, then what mounts of directories have.
    """
    files: list[CachedLibrary] = []
    others: list[CachedLibrary] = []
    for mount in mounts:
        directory, _, name = mount.container_path.rpartition(b"/")
        if directory in folders and is_library_name(name):
            files += _library_at(mount.host_path, mount.container_path)
            continue
        for folder in folders:
            inside = folder + b"/"
            if not inside.startswith(mount.container_path.rstrip(b"/") + b"/"):
                continue
            source = mount.host_path + folder[len(mount.container_path.rstrip(b"/")) :]
            if not _exists_as_directory(source):
                continue
            for each in sorted(os.listdir(source)):
                if is_library_name(each):
                    others += _library_at(source + b"/" + each, inside + each)
    return files, others


def _library_at(source: bytes, place: bytes) -> list[CachedLibrary]:
    """Return the library of the host's file ``source``, which is at ``place``; [] for others."""
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # the mount will say so
        return []
    with Closing(fd):
        library = cached_library(fd, place)
    return [] if library is None else [library]


def _exists_as_directory(path: bytes) -> bool:
    """Tell whether ``path`` is a directory."""
    try:
        return is_directory(path)
    except OSError:
        return False


def _linked_libraries(
    links: list[tuple[bytes, bytes]], folders: list[bytes], libraries: list[CachedLibrary]
) -> list[CachedLibrary]:
    """Return a library for each link in ``folders`` that leads to one of ``libraries``."""
    flags = {library.path.rpartition(b"/")[2]: library.flags for library in libraries}
    names = {library.name: library.flags for library in libraries}
    known = names | flags
    found = []
    for target, place in links:
        name = place.rpartition(b"/")[2]
        end = target.rpartition(b"/")[2]
        if directory_of(place) in folders and end in known and name not in names:
            known[name] = known[end]
            found.append(CachedLibrary(name, place, known[end]))
    return found


def _parameter_mounts() -> list[DetachedMount]:
    """Return the mount of a copy of the driver's parameters that forbids to make device nodes."""
    try:
        with open(_DRIVER_PARAMETERS, "rb") as file:
            text = file.read(_PARAMETERS_LIMIT)
    except OSError:
        return []
    if _MODIFIES_NODES not in text:
        return []
    text = text.replace(_MODIFIES_NODES, _KEEPS_NODES)
    return [FileMount(text, _DRIVER_PARAMETERS, OPTIONAL, mode=0o444, writable=False)]


def _refuse_impossible(edits: ContainerEdits, warn: _Warn) -> None:
    """Warn of what an unprivileged container cannot have."""
    groups = {*os.getgroups(), os.getegid()}
    missing = [str(gid) for gid in edits.additional_gids if gid not in groups]
    if missing:
        warn(f"additionalGids: you are not in group {', '.join(missing)}, and nobody can add you")
    if edits.intel_rdt is not None:
        warn("intelRdt: only the administrator can assign caches and memory bandwidth")
    for device in edits.net_devices:
        name = printable(device.host_interface_name)
        warn(f"netDevices: {name} stays where it is; the container has the host's network")
