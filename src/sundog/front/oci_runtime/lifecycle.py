"""The short commands: ``start``, ``state``, ``kill``, ``delete``, ``list`` and ``ps``."""

from __future__ import annotations

import json
import os
import select
from contextlib import suppress

from sundog.base.cpython import AF_UNIX, SIGKILL, SIGTERM, SOCK_SEQPACKET, pidfd_send_signal, socket
from sundog.base.kernel.files import Closing
from sundog.base.kernel.locks import unlock
from sundog.errors import SundogError, UsageError
from sundog.front.oci_runtime.state import (
    CREATED,
    GATE,
    RUNNING,
    STOPPED,
    Container,
    Place,
    all_places,
    find_root,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sundog.front.oci_runtime.arguments import Arguments
    from sundog.front.oci_runtime.log import Log

_KILL_WAIT = 10_000  # milliseconds until a killed process must have ended
_SIGNAL_LIMIT = 64


def find_place(arguments: Arguments) -> Place:
    """Return the place of the container that the first operand names."""
    return Place(find_root(arguments.value("root"), make=False), arguments.operands[0])


def start(arguments: Arguments, log: Log) -> int:
    """Let the command of a created container run."""
    place = find_place(arguments)
    start_container(place, log)
    return 0


def start_container(place: Place, log: Log) -> None:
    """Let the command of a created container run; then run the poststart hooks.

    Raises SundogError if it does not run, or if a hook fails: then the container is stopped.
    """
    from sundog.front.oci_runtime.link import ENDED, START, Link

    lock = place.lock()
    try:
        container = place.read()
        status = place.status(container)
        if status != CREATED:
            raise SundogError(f"cannot start a container that is {status}: {place.id}")
        link = Link(open_gate(place))
        try:
            link.send(START)
            kind, _ = link.receive()
        finally:
            link.close()
        if kind != ENDED:
            raise SundogError("the container's process does not answer")
        try:
            run_late_hooks("poststart", container, RUNNING)
        except SundogError:
            kill_all(container)
            raise
        log.debug(f"started {place.id}")
    finally:
        unlock(lock)


def open_gate(place: Place) -> socket:
    """Connect to the first process, once.  Raises SundogError."""
    connection = socket(AF_UNIX, SOCK_SEQPACKET)
    with Closing(place.open_directory()) as directory:
        try:
            connection.connect(b"/proc/self/fd/%d/%b" % (directory, GATE.encode()))
        except OSError as error:
            connection.close()
            raise SundogError(f"cannot start {place.id}: {error.strerror}") from None
    place.close_gate()
    return connection


def run_late_hooks(stage: str, container: Container, status: str) -> None:
    """Run the hooks of a stage after ``create``.

    They are those of the bundle as ``create`` has read it.  Raises SundogError.
    """
    if not container.has_late_hooks:
        return
    from sundog.front.oci_runtime.specification import read_bundle_again
    from sundog.runtime.container.hooks import run_hooks  # few containers have any

    bundle = os.fsencode(container.bundle)
    hooks = read_bundle_again(bundle, container.configuration).hooks[stage]
    run_hooks(stage, hooks, json.dumps(container.to_json(status)).encode(), bundle)


def state(arguments: Arguments, _log: Log) -> int:
    """Print the state of a container as the specification describes it."""
    place = find_place(arguments)
    container = place.read()
    print_json(container.to_json(place.status(container)))
    return 0


def kill(arguments: Arguments, _log: Log) -> int:
    """Send a signal to the first process of a container, or to all of its processes."""
    place = find_place(arguments)
    number = signal_number(arguments.operands[1]) if len(arguments.operands) > 1 else SIGTERM
    container = place.read()
    if arguments.has("all"):
        signal_processes(container, number)
        return 0
    status = place.status(container)
    if status not in (CREATED, RUNNING):
        raise SundogError(f"container not running: {place.id} is {status}")
    try:
        signal_first(container, number)
    except ProcessLookupError:
        raise SundogError(f"container not running: {place.id} is {STOPPED}") from None
    return 0


def signal_first(container: Container, number: int) -> None:
    """Send a signal to the first process.  Raises ProcessLookupError."""
    if container.process is None:
        raise ProcessLookupError
    with Closing(container.process.open()) as process:
        pidfd_send_signal(process, number)


def signal_processes(container: Container, number: int) -> set[int]:
    """Send a signal to all processes of a container; return their PIDs."""
    from sundog.front.oci_runtime.members import members

    opened = {}
    for pid in members(container):
        with suppress(ProcessLookupError):
            opened[pid] = os.pidfd_open(pid)
    # A number that another process has got before it was opened is no member now.
    found = opened.keys() & set(members(container))
    for pid, process in opened.items():
        with Closing(process), suppress(ProcessLookupError):
            if pid in found:
                pidfd_send_signal(process, number)
    return found


def kill_all(container: Container) -> None:
    """Kill all processes of a container, and wait until the first one has ended.

    Raises SundogError if it does not end.
    """
    seen: set[int] = set()
    try:
        process = -1 if container.process is None else container.process.open()
    except ProcessLookupError:
        process = -1
    # They may fork meanwhile, so this repeats until a look finds no new one.
    while not seen.issuperset(found := signal_processes(container, SIGKILL)):
        seen |= found
    if process < 0:
        return
    with Closing(process):
        try:
            pidfd_send_signal(process, SIGKILL)
        except ProcessLookupError:
            return
        poll = select.poll()
        poll.register(process, select.POLLIN)
        if not poll.poll(_KILL_WAIT):
            raise SundogError(
                f"the process of {container.id} does not end: kernel or storage hangs"
            )


def delete(arguments: Arguments, log: Log) -> int:
    """Forget a container that has stopped; with --force, kill it first."""
    place = find_place(arguments)
    force = arguments.has("force")
    try:
        lock = place.lock()
    except SundogError:
        if force:
            return 0
        raise
    try:
        delete_container(place, log, force=force)
    finally:
        unlock(lock)
    return 0


def delete_container(place: Place, log: Log, *, force: bool) -> None:
    """Forget a container.  The caller holds its lock.  Raises SundogError if it still runs."""
    try:
        container = place.read()
    except SundogError:
        if not force:
            raise
        place.remove()  # what a killed create has left
        return
    # The lock is this command's own, so a container that is not ready has lost its creator.
    status = place.status(container) if container.is_ready else STOPPED
    if status == RUNNING and not force:
        raise SundogError(
            f"cannot delete container {place.id} that is not stopped: {status}",
            f"ch-run-oci kill {place.id} KILL, or delete --force",
        )
    kill_all(container)
    try:
        run_late_hooks("poststop", container, STOPPED)
    except SundogError as error:
        log.warn_once("poststop", error.message)
    place.remove()


def list_containers(arguments: Arguments, _log: Log) -> int:
    """Print all containers: a table, with --quiet the IDs, or JSON."""
    is_json = _is_json(arguments)
    rows = []
    for place in all_places(find_root(arguments.value("root"), make=False)):
        try:
            container = place.read()
        except SundogError:
            continue  # deleted meanwhile
        status = place.status(container)
        rows.append({"pid": 0} | container.to_json(status) | {"created": container.created})
    if arguments.has("quiet"):
        print_lines(str(row["id"]) for row in rows)
    elif is_json:
        print_json(rows)
    else:
        columns = ("id", "pid", "status", "bundle", "created")
        table = [[name.upper() for name in columns]]
        table += [[str(row[name]) for name in columns] for row in rows]
        widths = [max(len(line[at]) for line in table) for at in range(len(columns))]
        print_lines(
            "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        )
    return 0


def _is_json(arguments: Arguments) -> bool:
    """Tell whether --format asks for JSON, not for a table.  Raises UsageError."""
    form = arguments.value("format") or "table"
    if form not in ("table", "json"):
        raise UsageError(f"invalid format: {form}", "--format table|json")
    return form == "json"


def list_processes(arguments: Arguments, _log: Log) -> int:
    """Print the PIDs of a container's processes."""
    from sundog.front.oci_runtime.members import members

    is_json = _is_json(arguments)
    pids = members(find_place(arguments).read())
    if is_json:
        print_json(pids)
    else:
        print_lines(map(str, pids))
    return 0


def signal_number(text: str) -> int:
    """Return the number of a signal by number, or name with or without SIG.  Raises UsageError."""
    import signal

    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit():
        number = int(name) if len(name) < 4 else 0
    else:
        base, plus, offset = name.partition("+")
        number = getattr(signal, f"SIG{base}", 0) if base.isascii() and base.isalnum() else 0
        if plus and number and offset.isascii() and offset.isdigit() and len(offset) < 3:
            number += int(offset)
        elif plus:
            number = 0
    if not 0 < number <= _SIGNAL_LIMIT:
        raise UsageError(f"unknown signal: {text}", "kill ID TERM, or a number from 1 to 64")
    return number


def print_json(value: object) -> None:
    """Print a value as JSON for people and programs."""
    print_lines([json.dumps(value, indent=2)])


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on standard output.  Raises OSError."""
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
    while text:
        text = text[os.write(1, text) :]
