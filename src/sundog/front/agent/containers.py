"""The process that supervises one container, from the first call of its program to its end."""

from __future__ import annotations

import gc
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from select import POLLIN, poll

from sundog.base.kernel.files import STDERR_FILENO, Closing
from sundog.base.kernel.libc import printable
from sundog.base.record.directory import RECORDS, RECORDS_DIRECTORY
from sundog.base.record.owners import OwnersManifest, unpack_owners
from sundog.errors import SundogError
from sundog.front.agent.container_source import ContainerSource
from sundog.front.agent.entrance import Detacher, enter_with_program
from sundog.runtime.container.enter import forbid_imports, rootless
from sundog.runtime.container.leaving import leave_caller
from sundog.runtime.container.own_records import OwnRecords
from sundog.runtime.emulation.notify.identity.capabilities import all_capabilities
from sundog.runtime.emulation.notify.identity.credentials import superuser
from sundog.runtime.emulation.notify.identity.tags import Tags
from sundog.runtime.emulation.notify.state.files import file_system_type
from sundog.runtime.supervision.emulation import Emulation
from sundog.runtime.supervision.fuse_mounts import unescaped
from sundog.runtime.supervision.supervision import Supervision, hold_answering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket

    from sundog.front.agent.process_state import ProcessState

OVERLAYFS = 0x794C7630  # linux/magic.h
RECORDS_SIZE_LIMIT = 1 << 30  # bytes
_UPPER = re.compile(rb" / / .* - overlay .*[ ,]upperdir=([^ ,]+)")


@dataclass(frozen=True)
class ArrivedContainer:
    """A container that is to be supervised.

    listener        of its first process
    process         a pidfd of this process
    proc            the /proc of its PID namespace
    further         the socket for further listeners
    predecessors    pidfds of supervisors that may still write the records with which this
                    container begins
    """

    state: ProcessState
    listener: int
    process: int
    proc: int
    further: socket
    predecessors: Sequence[int]

    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that the supervisor needs."""
        further = self.further.fileno()
        return (self.listener, self.process, self.proc, further, *self.predecessors)


def supervise(container: ArrivedContainer, report: Callable[[str], None]) -> None:
    """Answer the calls of ``container`` until it has ended, and write its records.

    This process is a child of the agent, and does nothing else.  ``report`` gets what the
    supervisor failed to answer.  Raises SundogError and OSError.
    """
    gc.freeze()  # objects of the agent must not close descriptor numbers that are in use again
    leave_caller((STDERR_FILENO, *container.descriptors()), b"sundog-agent")
    for predecessor in container.predecessors:
        events = poll()
        events.register(predecessor, POLLIN)
        events.poll()
        os.close(predecessor)
    metadata, first = container.state.metadata, container.state.first
    with Detacher() as detacher:
        changes = detacher.open(metadata.changes) if metadata.changes else -1
        records = OwnRecords(metadata.changes, changes) if metadata.changes else None
        manifest = {} if records is None else records.before
        if metadata.owners:
            manifest = read_records(metadata.owners)
        hold_answering()
        forbid_imports()
        if not enter_with_program(container.listener, container.process, first, container.proc):
            return
        if records is None and not metadata.owners:
            manifest = own_records()
        upper = overlay_upper(detacher, first, container.proc)
    os.close(container.process)
    emulation = Emulation(is_stable=upper >= 0)
    supervision = Supervision(
        container.proc, emulation, shown=manifest, changes=changes, upper=upper
    )
    tags = Tags(superuser(all_capabilities()))
    source = ContainerSource(container.listener, container.further)
    supervised = supervision.answer(source, tags)
    if records is not None:
        records.save(supervised.owners)
    for incident in supervised.incidents:
        report(incident)


def own_records() -> OwnersManifest:
    """Return the records in the root directory's own file ``ch/owners``, {} if it has none."""
    path = b"/%b/%b" % (RECORDS_DIRECTORY, RECORDS)
    if not os.path.lexists(path):
        return {}
    return read_records(path)


def read_records(path: bytes) -> OwnersManifest:
    """Return the records in the file ``path``.  Raises SundogError and OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise SundogError(f"{printable(path)}: not a regular file")
        if status.st_size > RECORDS_SIZE_LIMIT:
            raise SundogError(f"{printable(path)}: larger than {RECORDS_SIZE_LIMIT >> 20} MiB")
        data = file.read(RECORDS_SIZE_LIMIT)
    try:
        return unpack_owners(data)
    except ValueError as error:
        raise SundogError(f"{printable(path)}: damaged records: {error}") from error


def overlay_upper(detacher: Detacher, number: int, proc: int) -> int:
    """Return a descriptor of the upper directory if the root is an overlay, else -1.

    The ``detacher`` opens it on the host.  The process ``number`` is in the container.
    """
    with Closing(os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        if file_system_type(root) != OVERLAYFS:
            return -1
    with open(os.open(b"%d/mountinfo" % number, os.O_RDONLY, dir_fd=proc), "rb") as file:
        found = _UPPER.search(file.read())
    if found is not None:
        with suppress(SundogError):
            return detacher.open(unescaped(found[1]))
    return rootless(b"/")  # the kernel keeps the numbers of a read-only overlay
