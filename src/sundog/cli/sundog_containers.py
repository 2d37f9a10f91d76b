"""``sundog ps``, ``stop``, ``kill``, ``rm`` and ``logs``: containers with a name."""

from __future__ import annotations

import select
import signal
import sys
import time

from sundog.cli.output import print_columns, print_json, print_line
from sundog.cli.sundog_command import run_safely, scanned
from sundog.errors import SundogError, UsageError
from sundog.kernel.files import Closing
from sundog.podman.container_options import KILL, LOGS, PS, RM, STOP
from sundog.podman.containers import own_containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.cli.sundog_command import Context
    from sundog.podman.containers import Container, Containers
    from sundog.podman.options import Line

_COMMAND_WIDTH = 30
_GRACE = 10.0  # seconds between SIGTERM and SIGKILL: podman-stop(1)
_LOOK = 0.2  # seconds between two looks at a log
_BLOCK = 1 << 16


def ps(words: Sequence[str], context: Context) -> int:  # noqa: ARG001 - as all subcommands
    """List the containers that run, or all; return the exit status."""
    line = scanned("ps", words, PS)
    if line is None:
        return 0

    def action() -> int:
        found = own_containers().list()
        if not line.is_set("all"):
            found = [container for container in found if container.is_running]
        if line.last("format") == "json":
            print_json(
                [container.to_json() | {"running": container.is_running} for container in found]
            )
        elif line.is_set("quiet"):
            for container in found:
                print_line(container.name)
        else:
            _print_table(found, heading=not line.is_set("noheading"), whole=line.is_set("no-trunc"))
        return 0

    return run_safely(action)


def stop(words: Sequence[str], context: Context) -> int:  # noqa: ARG001
    """Send SIGTERM, and SIGKILL after a while; return the exit status."""
    line = scanned("stop", words, STOP)
    if line is None:
        return 0
    grace = _seconds(line.last("time"))

    def act(_: Containers, container: Container) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if _signal(container, number) and _wait(container, grace):
                break

    return _for_each("stop", line, act)


def kill(words: Sequence[str], context: Context) -> int:  # noqa: ARG001
    """Send a signal; return the exit status."""
    line = scanned("kill", words, KILL)
    if line is None:
        return 0
    number = _signal_number(line.last("signal") or "KILL")

    def act(_: Containers, container: Container) -> None:
        _signal(container, number)

    return _for_each("kill", line, act, must_run=True)


def rm(words: Sequence[str], context: Context) -> int:  # noqa: ARG001
    """Forget containers that have ended, with their logs; return the exit status."""
    line = scanned("rm", words, RM)
    if line is None:
        return 0
    force = line.is_set("force")

    def act(containers: Containers, container: Container) -> None:
        if container.is_running:
            if not force:
                raise SundogError(
                    f"{container.name}: it runs", f"sundog stop {container.name}, or rm --force"
                )
            _signal(container, signal.SIGKILL)
            _wait(container, _GRACE)
        containers.remove(container.name)

    return _for_each("rm", line, act)


def logs(words: Sequence[str], context: Context) -> int:  # noqa: ARG001
    """Print the output of a detached container; return the exit status."""
    line = scanned("logs", words, LOGS)
    if line is None:
        return 0
    if len(line.operands) != 1:
        raise UsageError("logs: it takes one CONTAINER", "sundog logs CONTAINER")

    def action() -> int:
        containers = own_containers()
        container = containers.get(line.operands[0])
        if not container.detached:
            raise SundogError(f"{container.name}: its output went to its own terminal")
        with open(containers.open_log(container.name), "rb") as log:
            while True:
                is_over = not container.is_running
                while block := log.read(_BLOCK):
                    sys.stdout.buffer.write(block)
                sys.stdout.flush()
                if is_over or not line.is_set("follow"):
                    return 0
                time.sleep(_LOOK)

    return run_safely(action)


def _for_each(
    name: str, line: Line, act: Callable[[Containers, Container], None], *, must_run: bool = False
) -> int:
    """Do something with each container of the command line, and print its name."""
    if not line.operands:
        raise UsageError(f"{name}: no container", f"sundog {name} CONTAINER…")

    def action() -> int:
        containers = own_containers()
        for operand in line.operands:
            act(containers, containers.get(operand, running=must_run))
            print_line(operand)
        return 0

    return run_safely(action)


def _signal(container: Container, number: int) -> bool:
    """Send a signal to a container's process; return False if it has ended."""
    try:
        with Closing(container.process.open()) as process:
            signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return False
    return True


def _wait(container: Container, seconds: float) -> bool:
    """Wait for the end of a container's process; return False if that takes longer."""
    try:
        with Closing(container.process.open()) as process:
            return bool(select.select([process], [], [], seconds)[0])
    except ProcessLookupError:
        return True


def _seconds(text: str | None) -> float:
    if text is None:
        return _GRACE
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--time {text}: not a number of seconds", "sundog stop --help")
    return float(text)


def _signal_number(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) in signal.valid_signals():
        return int(text)
    name = "SIG" + text.upper().removeprefix("SIG")
    try:
        return signal.Signals[name]
    except KeyError:
        raise UsageError(f"--signal {text}: no such signal", "kill -l lists them") from None


def _print_table(found: Sequence[Container], *, heading: bool, whole: bool) -> None:
    rows = [("NAME", "IMAGE", "COMMAND", "STATUS", "PID")] if heading else []
    for container in found:
        command = " ".join(container.command) or "-"
        if len(command) > _COMMAND_WIDTH and not whole:
            command = f"{command[: _COMMAND_WIDTH - 1]}…"
        since = time.strftime("since %F %T", time.localtime(container.created))
        ended = "ended" if container.status is None else f"ended ({container.status})"
        status = f"running {since}" if container.is_running else ended
        rows.append((container.name, container.image, command, status, str(container.process.pid)))
    if rows:
        print_columns(rows)
