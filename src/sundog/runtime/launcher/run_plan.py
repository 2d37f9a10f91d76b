"""The plan of mounts of ``ch-run``: the host's files that its container sees."""

from sundog.runtime.container.mountpoint import components
from sundog.runtime.container.operations import (
    CREATED,
    OPTIONAL,
    REQUIRED,
    Bind,
    FileMount,
    TmpfsMount,
)
from sundog.runtime.container.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sundog.runtime.container.hidden import Hidden
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.root import Root
    from sundog.runtime.launcher.file_server import FileServer

# The host's files that every container sees, in this order.  The user may write to them as on the
# host.
REQUIRED_BINDS = (b"/dev", b"/proc", b"/sys")
OPTIONAL_BINDS = (
    b"/etc/hosts",
    b"/etc/machine-id",
    b"/etc/resolv.conf",
    b"/var/lib/hugetlbfs",
    b"/var/spool/slurmd",
)
# Cray's workload manager and network.  Without CRAY_DIRECTORY a start saves seven look-ups.
CRAY_DIRECTORY = b"/opt/cray"
CRAY_BINDS = (
    b"/etc/opt/cray/wlm_detect",
    b"/opt/cray/wlm_detect",
    b"/opt/cray/alps",
    b"/opt/cray/udreg",
    b"/opt/cray/ugni",
    b"/opt/cray/xpmem",
    b"/var/opt/cray/alps",
)


def build_plan(
    root: "Root",
    *,
    writable: bool = False,
    overlay_size: bytes | None = None,
    is_kept: bool = False,
    host_tmp: bytes | None = b"/tmp",
    accounts: tuple[bytes, bytes] | None = None,
    places: "list[Operation] | None" = None,
    binds: list[tuple[bytes, bytes, bool]],
    own: "Collection[bytes]" = (),
    hidden: "Hidden | None" = None,
    cray: bool = False,
    files: "FileServer | None" = None,
    drivers: "Sequence[Operation]" = (),
    tmpfs: "Sequence[Operation]" = (),
) -> Plan:
    """Return the plan of mounts of one ``ch-run``.

    is_kept     whether the root has an upper that stays
    host_tmp    the directory to bind at /tmp; None: /tmp is a tmpfs
    accounts    the contents of /etc/passwd and /etc/group; None: the image keeps its own
    places      binds of the host's directories at their own paths, before those of --bind
    binds       (source, destination, whether writable) of each --bind; the plan makes missing
                destinations
    own         those sources of ``binds`` that are in a directory of Sundog's own
    hidden      what no other bind shows
    cray        whether the machine is a Cray
    files       the server of those sources of ``binds`` that are one file, SquashFS or SIF
    drivers     the mounts of --device and of --host-mpi, before those of --bind
    tmpfs       those of --tmpfs, before those of ``drivers`` and --bind
    """
    # An overlay gets the missing mount points, so the image does not change.
    required = REQUIRED if overlay_size is None and not is_kept else CREATED
    operations: list[Operation] = [
        Bind(source, b"/" + inside, writable=False, is_own=True) for source, inside in root.binds
    ]
    operations += [Bind(path, path, required) for path in REQUIRED_BINDS]
    optional = OPTIONAL_BINDS + CRAY_BINDS if cray else OPTIONAL_BINDS
    operations += [Bind(path, path, OPTIONAL) for path in optional]
    if accounts is not None:
        passwd, group = accounts
        operations.append(FileMount(passwd, b"/etc/passwd", required))
        operations.append(FileMount(group, b"/etc/group", required))
    operations.append(
        TmpfsMount(b"/tmp", required) if host_tmp is None else Bind(host_tmp, b"/tmp", required)
    )
    operations += [*(places or []), *tmpfs]
    for mount in drivers:
        if isinstance(mount, Bind):
            mount.in_tmpfs = is_in_tmpfs(mount.destination, operations)
        operations.append(mount)
    for source, destination, is_writable in binds:
        is_own = source in own
        if files is None:
            in_tmpfs = is_in_tmpfs(destination, operations)
            operations.append(
                Bind(
                    source,
                    destination,
                    CREATED,
                    writable=is_writable,
                    in_tmpfs=in_tmpfs,
                    is_own=is_own,
                )
            )
        else:
            operations.append(
                files.bind(source, destination, CREATED, writable=is_writable, is_own=is_own)
            )
    return Plan(root, operations, writable=writable, overlay_size=overlay_size, hidden=hidden)


def is_in_tmpfs(destination: bytes, operations: "list[Operation]") -> bool:
    """Tell whether ``destination`` lies below a tmpfs, and below no mount of another kind."""
    names = components(destination)
    is_found = False
    for earlier in operations:
        above = components(earlier.destination)
        if names[: len(above)] == above:
            is_found = isinstance(earlier, TmpfsMount) and len(above) < len(names)
            if not is_found:
                break
    return is_found and b".." not in names
