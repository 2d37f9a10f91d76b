"""The state of containers between two commands: ROOT/ID, a record for each container.

Beside the files of each record (``state.records``) there is

    gate         the socket at which the container's process waits for ``start``

The state has no program: late hooks come from the bundle, if its configuration is still the one
whose digest the state keeps.
"""

from __future__ import annotations

import os

from sundog.base.fields import Fields
from sundog.base.kernel.living_process import Process
from sundog.errors import RuntimeConfigError, SundogError
from sundog.image.oci.bundle import OCI_VERSION
from sundog.runtime.state.place import OCI, given_place, state_place
from sundog.runtime.state.records import Record, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

GATE = "gate"
SYSTEM_ROOT = "/run/ch-run-oci"

_INITIAL_USER_NAMESPACE = 0xEFFFFFFD  # its inode: PROC_USER_INIT_INO in linux/proc_ns.h

CREATING, CREATED, RUNNING, STOPPED = "creating", "created", "running", "stopped"


class Container:
    """The state of a container.

    ``process`` is None before ``create`` has made it.  ``is_ready`` says that ``create`` has done
    all that it does.  ``mounts_id`` is the unique number of its mount namespace, 0 if the kernel
    tells none.  ``configuration`` is the digest of the bundle's configuration, and
    ``has_late_hooks`` says that this has hooks for a stage after ``create``.  ``uid`` and ``gid``
    are those of its user in the container.
    """

    # Most commands live for milliseconds; the module dataclasses would take more than all the rest.
    __slots__ = (
        "annotations",
        "bundle",
        "configuration",
        "created",
        "gid",
        "has_late_hooks",
        "id",
        "is_ready",
        "mounts_id",
        "process",
        "uid",
    )

    def __init__(
        self,
        container: str,
        bundle: str,
        created: str,
        *,
        annotations: dict[str, str],
        configuration: str,
        has_late_hooks: bool,
        user: tuple[int, int],
        process: Process | None = None,
        is_ready: bool = False,
        mounts_id: int = 0,
    ) -> None:
        self.id = container
        self.bundle = bundle
        self.created = created
        self.annotations = annotations
        self.configuration = configuration
        self.has_late_hooks = has_late_hooks
        self.uid, self.gid = user
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
            configuration=self.configuration,
            has_late_hooks=self.has_late_hooks,
            user=(self.uid, self.gid),
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
    """The record ROOT/ID of one container, and its gate."""

    __slots__ = ("_record", "id", "path")

    def __init__(self, root: str, container: str) -> None:
        """Name the record.  Raises UsageError for an ID that cannot be a file's name."""
        self._record = Record(root, container)
        self.id = container
        self.path = self._record.path

    def reserve(self) -> int:
        """Make the record of a new container; return the lock on it.  Raises SundogError."""
        try:
            return self._record.reserve()
        except FileExistsError:
            raise SundogError(
                f"container with given ID already exists: {self.id}",
                f"ch-run-oci delete {self.id}",
            ) from None

    def lock(self) -> int:
        """Lock the container against other commands; wait for the lock.  Raises SundogError."""
        try:
            return self._record.lock()
        except FileNotFoundError:
            raise self.missing() from None

    def write(self, container: Container) -> None:
        """Write the state; a reader finds the old one or the new one.  Raises OSError."""
        value = container.to_json(CREATED)
        del value["status"]
        value |= {"created": container.created, "configuration": container.configuration}
        value |= {"lateHooks": container.has_late_hooks}
        value |= {"uid": container.uid, "gid": container.gid}
        value |= {"ready": container.is_ready, "mountNamespace": container.mounts_id}
        process = container.process
        if process is not None:
            value |= {"startTime": process.start, "boot": process.boot}
        self._record.write(value)

    def read(self) -> Container:
        """Return the state.  Raises SundogError if there is no such container."""
        what = f"state of {self.id}"
        try:
            value = self._record.read()
        except FileNotFoundError:
            raise self.missing() from None
        except ValueError as error:
            raise RuntimeConfigError(f"{what}: {error}") from None
        fields = Fields(value, what, RuntimeConfigError)
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
            configuration=fields.required_string("configuration"),
            has_late_hooks=fields.boolean("lateHooks"),
            user=(fields.size("uid"), fields.size("gid")),
            process=process,
            is_ready=fields.boolean("ready"),
            mounts_id=fields.size("mountNamespace"),
        )

    def status(self, container: Container) -> str:
        """Return the status of a container that ``read`` has returned."""
        if not container.is_ready:  # its creator holds the lock, or has been killed
            return CREATING if self._record.is_locked() else STOPPED
        if container.process is None or not container.process.lives():
            return STOPPED
        return CREATED if os.path.exists(os.path.join(self.path, GATE)) else RUNNING

    def close_gate(self) -> None:
        """Take note that the container has been started."""
        os.unlink(os.path.join(self.path, GATE))

    def open_directory(self) -> int:
        """Return a descriptor of the directory."""
        return self._record.open()

    def remove(self) -> None:
        """Forget the container; from then on another one can have its ID."""
        self._record.remove()

    def missing(self) -> SundogError:
        """Return the error for a container that is not there."""
        return SundogError(f"container does not exist: {self.id}", "ch-run-oci list")


def find_root(given: str | None, *, make: bool) -> str:
    """Return ROOT: ``given``, or the default of the user.  Make it if ``make``.

    Raises SundogError if others may write to it.
    """
    if not given and not is_system():
        path = state_place(os.environb, OCI, make=make)
    else:
        path = os.fsencode(given or SYSTEM_ROOT)
    return os.fsdecode(given_place(path, make=make))


def is_system() -> bool:
    """Tell whether this process is the machine's root, and not that of a user namespace."""
    try:
        namespace = os.stat("/proc/self/ns/user").st_ino
    except OSError:
        return False
    return os.geteuid() == 0 and namespace == _INITIAL_USER_NAMESPACE


def all_places(root: str) -> Iterator[Place]:
    """Yield the places of all containers, in the order of their IDs."""
    for record in records(root):
        yield Place(root, record.name)


def identify(pid: int) -> Process:
    """Return the process with this number.  Raises SundogError if it has ended."""
    try:
        return Process.of(pid)
    except ProcessLookupError:
        raise SundogError("the container's process has ended") from None
