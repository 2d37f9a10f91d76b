"""What is known of containers between two commands: ROOT/ID, a directory for each container.

    state.json   written by ``create``; replaced as a whole
    gate         the socket at which the container's process waits for ``start``
    lock         held by a command while it changes the container

ROOT is private to the user.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat

from sundog.errors import RuntimeConfigError, SundogError, UsageError
from sundog.kernel.libc import escaped, printable
from sundog.kernel.living_process import Process
from sundog.kernel.locks import open_locked, unlock
from sundog.oci.bundle import OCI_VERSION
from sundog.oci.fields import Fields, parse_json
from sundog.record.location import is_others_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

STATE, GATE, LOCK = "state.json", "gate", "lock"
_DRAFT = "state.json.new"
_SIZE_LIMIT = 16 << 20
_ID = re.compile(r"[A-Za-z0-9_+.-]{1,240}", re.ASCII)
_TRASH = "~"  # no ID has this character

_INITIAL_USER_NAMESPACE = 0xEFFFFFFD  # its inode: PROC_USER_INIT_INO in linux/proc_ns.h

CREATING, CREATED, RUNNING, STOPPED = "creating", "created", "running", "stopped"


class Container:
    """The state of a container.

    ``process`` is None before ``create`` has made it.  ``is_ready`` says that ``create`` has done
    all that it does.  ``mounts_id`` is the unique number of its mount namespace, 0 if the kernel
    tells none.  ``hooks`` are those of the stages after ``create``, as in the configuration.
    """

    # Most commands live for milliseconds; the module dataclasses would take more than all the rest.
    __slots__ = (
        "annotations",
        "bundle",
        "created",
        "hooks",
        "id",
        "is_ready",
        "mounts_id",
        "process",
    )

    def __init__(
        self,
        container: str,
        bundle: str,
        created: str,
        *,
        annotations: dict[str, str],
        hooks: dict[str, object],
        process: Process | None = None,
        is_ready: bool = False,
        mounts_id: int = 0,
    ) -> None:
        self.id = container
        self.bundle = bundle
        self.created = created
        self.annotations = annotations
        self.hooks = hooks
        self.process = process
        self.is_ready = is_ready
        self.mounts_id = mounts_id

    def with_process(
        self, process: Process, *, is_ready: bool = False, mounts_id: int = 0
    ) -> Container:
        """Return the state when the process exists."""
        return Container(
            self.id,
            self.bundle,
            self.created,
            annotations=self.annotations,
            hooks=self.hooks,
            process=process,
            is_ready=is_ready,
            mounts_id=mounts_id,
        )

    def to_json(self, status: str) -> dict[str, object]:
        """Return the state as the specification describes it: runtime.md, "State"."""
        value: dict[str, object] = {"ociVersion": OCI_VERSION, "id": self.id, "status": status}
        if self.process is not None and status in (CREATING, CREATED, RUNNING):
            value["pid"] = self.process.pid
        value["bundle"] = self.bundle
        if self.annotations:
            value["annotations"] = self.annotations
        return value


class Place:
    """The directory ROOT/ID of one container."""

    __slots__ = ("id", "path")

    def __init__(self, root: str, container: str) -> None:
        """Name the directory.  Raises UsageError for an ID that cannot be a file's name."""
        if not _ID.fullmatch(container) or container in (".", ".."):
            raise UsageError(
                f"invalid container ID: {escaped(container[:80])}",
                "an ID has letters, digits and _ + - . and at most 240 of them",
            )
        self.id = container
        self.path = os.path.join(root, container)

    def reserve(self) -> int:
        """Make the directory for a new container; return the lock on it.  Raises SundogError."""
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            raise SundogError(
                f"container with given ID already exists: {self.id}",
                f"ch-run-oci delete {self.id}",
            ) from None
        return self.lock()

    def lock(self) -> int:
        """Lock the container against other commands; wait for the lock.  Raises SundogError."""
        try:
            return open_locked(self._name(LOCK), os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        except FileNotFoundError:
            raise self.missing() from None

    def is_locked(self) -> bool:
        """Tell whether a command is changing the container."""
        try:
            fd = open_locked(self._name(LOCK), os.O_RDWR, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        unlock(fd)
        return False

    def write(self, container: Container) -> None:
        """Write the state; a reader finds the old one or the new one.  Raises OSError."""
        value = container.to_json(CREATED)
        del value["status"]
        value |= {"created": container.created, "hooks": container.hooks}
        value |= {"ready": container.is_ready, "mountNamespace": container.mounts_id}
        process = container.process
        if process is not None:
            value |= {"startTime": process.start, "boot": process.boot}
        draft = os.path.join(self.path, _DRAFT)
        with open(draft, "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(value, file)
        os.rename(draft, os.path.join(self.path, STATE))

    def read(self) -> Container:
        """Return the state.  Raises SundogError if there is no such container."""
        try:
            fd = os.open(self._name(STATE), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise self.missing() from None
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(_SIZE_LIMIT)
        what = f"state of {self.id}"
        fields = Fields(parse_json(text, what, RuntimeConfigError), what, RuntimeConfigError)
        process = None
        if fields.rest.get("pid") is not None:
            process = Process(
                fields.size("pid"), fields.size("startTime"), fields.required_string("boot")
            )
        return Container(
            self.id,
            fields.required_string("bundle"),
            fields.string("created"),
            annotations=fields.string_map("annotations"),
            hooks=fields.mapping("hooks"),
            process=process,
            is_ready=fields.boolean("ready"),
            mounts_id=fields.size("mountNamespace"),
        )

    def status(self, container: Container) -> str:
        """Return the status of a container that ``read`` has returned."""
        if not container.is_ready:  # its creator holds the lock, or has been killed
            return CREATING if self.is_locked() else STOPPED
        if container.process is None or not container.process.lives():
            return STOPPED
        return CREATED if os.path.exists(self._name(GATE)) else RUNNING

    def close_gate(self) -> None:
        """Take note that the container has been started."""
        os.unlink(self._name(GATE))

    def open_directory(self) -> int:
        """Return a descriptor of the directory."""
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def remove(self) -> None:
        """Forget the container; from then on another one can have its ID."""
        trash = f"{self.path}{_TRASH}{os.getpid()}"
        os.rename(self.path, trash)
        with contextlib.suppress(OSError):
            for name in os.listdir(trash):
                os.unlink(os.path.join(trash, name))
            os.rmdir(trash)

    def missing(self) -> SundogError:
        """Return the error for a container that is not there."""
        return SundogError(f"container does not exist: {self.id}", "ch-run-oci list")

    def _name(self, name: str) -> bytes:
        return os.fsencode(os.path.join(self.path, name))


def find_root(given: str | None, *, make: bool) -> str:
    """Return ROOT: ``given``, or the default of the user.  Make it if ``make``.

    Raises SundogError if others may write to it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if given:
        path = os.path.abspath(given)
    elif is_system():
        path = "/run/ch-run-oci"
    elif os.path.isabs(runtime) and os.path.isdir(runtime):
        path = os.path.join(runtime, "ch-run-oci")
    else:
        path = f"/tmp/ch-run-oci.{os.geteuid()}"
    try:
        if make:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        is_foreign = is_others_link(os.fsencode(path))
        status = os.stat(path) if given else os.lstat(path)
    except FileNotFoundError:
        return path
    except OSError as error:
        shown = printable(os.fsencode(path))
        raise SundogError(f"cannot use the state directory {shown}: {error.strerror}") from None
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if is_foreign or not is_own or status.st_mode & 0o022:
        raise SundogError(
            f"cannot use the state directory {printable(os.fsencode(path))}: it must be a directory"
            " of yours to which nobody else can write",
            "name another one: --root DIR; or set $XDG_RUNTIME_DIR",
        )
    return path


def is_system() -> bool:
    """Tell whether this process is the machine's root, and not that of a user namespace."""
    try:
        namespace = os.stat("/proc/self/ns/user").st_ino
    except OSError:
        return False
    return os.geteuid() == 0 and namespace == _INITIAL_USER_NAMESPACE


def all_places(root: str) -> Iterator[Place]:
    """Yield the places of all containers, in the order of their IDs."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return
    for name in names:
        if _ID.fullmatch(name) and os.path.exists(os.path.join(root, name, STATE)):
            yield Place(root, name)


def identify(pid: int) -> Process:
    """Return the process with this number.  Raises SundogError if it has ended."""
    try:
        return Process.of(pid)
    except ProcessLookupError:
        raise SundogError("the container's process has ended") from None
