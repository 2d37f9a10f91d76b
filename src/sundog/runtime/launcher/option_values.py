"""The values of ``ch-run``'s options, by subject.

``Given`` maps the long name of each option that is on the command line to its value: True without
an argument, and a list for an option that may come several times.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sundog.runtime.container.operations import TmpfsMount
    from sundog.runtime.launcher.environment import EnvironmentChange, SetVariables

    Given = dict[str, Any]


class ImageOptions:
    """The image: where it is, and whether the command may write to it.

    ``lazy`` says how an image starts that is not here: a value of $CH_RUN_LAZY, None if it is not
    given.
    """

    __slots__ = (
        "arch",
        "container",
        "lazy",
        "mount_point",
        "overlay_size",
        "overlays",
        "record",
        "storage",
        "stores",
        "unsafe",
        "verify",
        "write",
    )

    def __init__(self, given: Given) -> None:
        self.arch: bytes = given.get("arch", b"")
        self.container: bytes = given.get("container", b"")
        self.lazy: bytes | None = given.get("lazy")
        self.mount_point: bytes | None = given.get("mount")
        self.overlay_size: bytes | None = given.get("write-fake")
        self.overlays: list[tuple[bytes, bool]] = given.get("overlay", [])
        self.record: bytes | None = given.get("record")
        self.storage: bytes | None = given.get("storage")
        self.stores: list[bytes] = given.get("image-store", [])
        self.unsafe = "unsafe" in given
        self.verify = "verify" in given
        self.write = "write" in given

    def use_default_size(self, size: Callable[[], bytes]) -> None:
        """Let ``size`` say how much -W lets the command write if its argument does not."""
        if self.overlay_size == b"":
            self.overlay_size = size()

    @property
    def stays_as_it_is(self) -> bool:
        """Tell whether the command can write nothing, not even into a layer over the image."""
        is_kept = self.container or self.is_overlaid
        return not self.write and not is_kept and self.overlay_size is None

    @property
    def is_overlaid(self) -> bool:
        """Tell whether changes go into a directory of --overlay."""
        return any(is_writable for _, is_writable in self.overlays)


class MountOptions:
    """Files that the container shows; ``owned`` has the destinations of binds with the mode U."""

    __slots__ = (
        "binds",
        "home",
        "own_dev",
        "owned",
        "passwd",
        "private_tmp",
        "site_binds",
        "tmpfs",
    )

    def __init__(self, given: Given) -> None:
        binds = given.get("bind", [])
        self.binds: list[tuple[bytes, bytes, bool | None]] = [bind for bind, _ in binds]
        self.owned: set[bytes] = {bind[1] for bind, is_owned in binds if is_owned}
        self.home = "home" in given
        self.passwd = "no-passwd" not in given
        self.own_dev = "own-dev" in given
        self.private_tmp = "private-tmp" in given
        self.site_binds = "no-site-binds" not in given
        self.tmpfs: list[TmpfsMount] = given.get("tmpfs", [])


class DeviceOptions:
    """Devices of CDI; ``variables`` is the place of theirs among the changes, None without any."""

    __slots__ = ("all", "cdi_dirs", "hooks", "variables", "words")

    def __init__(self, given: Given, variables: SetVariables | None) -> None:
        self.all = "devices" in given
        self.cdi_dirs: bytes | None = given.get("cdi-dirs")
        self.hooks = "cdi-hooks" in given
        self.variables = variables
        self.words: list[bytes] = given.get("device", [])


class EnvironmentOptions:
    """The command's variables, by ``changes`` in the order of the options, and its directory."""

    __slots__ = ("changes", "directory", "expand", "mpi")

    def __init__(self, given: Given, changes: list[EnvironmentChange]) -> None:
        self.changes = changes
        self.directory: bytes | None = given.get("cd")
        self.expand = "env-no-expand" not in given
        self.mpi = "no-mpi-env" not in given


class IdentityOptions:
    """The command's user; ``is_rank``: a rank of MPI that has to call itself by the caller's.

    ``read_command_line`` finds ranks.
    """

    __slots__ = ("gid", "is_rank", "uid", "user")

    def __init__(self, given: Given) -> None:
        self.gid: int | None = given.get("gid")
        self.is_rank = False
        self.uid: int | None = given.get("uid")
        self.user: bytes = given.get("user", b"")

    def be_rank(self) -> None:
        """Let the command be such a rank."""
        self.is_rank = True


class EmulationOptions:
    """Root emulation; ``fallback`` lets --seccomp take the place of --notify."""

    __slots__ = ("fallback", "notify", "seccomp", "strict")

    def __init__(self, given: Given) -> None:
        self.fallback = "no-fallback" not in given
        self.notify = "notify" in given or "user" in given
        self.seccomp = "seccomp" in given
        self.strict: bool = given.get("notify", False)


class GroupOptions:
    """The group that shares a container, or the process whose container the command joins."""

    __slots__ = ("is_joined", "pid", "size", "tag")

    def __init__(self, given: Given) -> None:
        self.is_joined = not given.keys().isdisjoint(("join", "join-ct", "join-tag"))
        self.pid: int | None = given.get("join-pid")
        self.size: int | None = given.get("join-ct")
        self.tag: bytes | None = given.get("join-tag")


class HostMpiOptions:
    """The host's MPI: the name of its profile, None without it."""

    __slots__ = ("glibc", "profile")

    def __init__(self, given: Given) -> None:
        self.glibc = "host-glibc" in given
        self.profile: bytes | None = given.get("host-mpi")
