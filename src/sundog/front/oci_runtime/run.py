"""``run``: create a container, start it, wait for its command, and delete it."""

from __future__ import annotations

from sundog.base.kernel.locks import unlock
from sundog.base.kernel.process import set_child_subreaper
from sundog.errors import SundogError
from sundog.front.oci_runtime.create import create
from sundog.front.oci_runtime.lifecycle import delete_container, start_container
from sundog.front.oci_runtime.waiting import Terminal, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.oci_runtime.arguments import Arguments
    from sundog.front.oci_runtime.create import Created
    from sundog.front.oci_runtime.log import Log


def run(arguments: Arguments, log: Log) -> int:
    """Run a container; return the exit status of its command, 128 + N for signal N."""
    if arguments.has("detach"):
        created = create(arguments, log)
        start_or_delete(created, log)
        return 0
    watch = Watch()
    set_child_subreaper()  # the first process is a grandchild if it has a PID namespace
    terminal = None if arguments.value("console-socket") is not None else Terminal()
    console = None if terminal is None else terminal.console()
    created = create(arguments, log, console=console, is_tied=True)
    start_or_delete(created, log)
    status = watch.wait(created.process, terminal)
    if not arguments.has("keep"):
        forget(created, log)
    return status


def start_or_delete(created: Created, log: Log) -> None:
    """Start the container; delete it if that fails."""
    try:
        start_container(created.place, log)
    except SundogError:
        forget(created, log)
        raise


def forget(created: Created, log: Log) -> None:
    """Delete a container whose command has ended, unless somebody else has."""
    try:
        lock = created.place.lock()
    except SundogError:
        return
    try:
        delete_container(created.place, log, force=True)
    finally:
        unlock(lock)
