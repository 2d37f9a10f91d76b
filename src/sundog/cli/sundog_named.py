"""``sundog run --name`` and ``--detach``: containers that can be found again."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time

from sundog.cli.output import print_line
from sundog.cli.sundog_start import Run, become_ch_run
from sundog.errors import SundogError
from sundog.kernel.living_process import Process
from sundog.podman.containers import Container, Containers, check_name, own_containers
from sundog.podman.run_line import run_line
from sundog.podman.stored import storage_directory
from sundog.podman.users import Who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sundog.podman.run_line import ChRunLine

_STREAMS = (0, 1, 2)
_FAILED = 1
_NAME_LENGTH = 40


def start(run: Run) -> int:
    """Become the command of a container with a name, or start it in the background.

    Return the exit status if it is in the background.  Raises SundogError.
    """
    name = run.line.last("name") or _new_name(run.image)
    check_name(name)
    containers = own_containers()
    containers.free(name)
    _translated(run, "")  # what is wrong with the line is said before anything starts
    if not run.line.is_set("detach"):
        _become(run, containers, name)
    sys.stdout.flush()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        os.close(reader)
        os._exit(_keep(run, containers, name, writer))
    os.close(writer)
    with open(reader, "rb") as pipe:
        failure = pipe.read().decode(errors="replace")
    if failure:
        raise SundogError(failure)
    container = containers.find(name)
    if container is not None:
        container.wait_for_group()
    print_line(name)
    return 0


def running(name: str) -> Container:
    """Return the container ``name``, which can be entered.  Raises SundogError if it has ended."""
    containers = own_containers()
    containers.get(name, running=True).wait_for_group()
    return containers.get(name, running=True)


def _become(run: Run, containers: Containers, name: str) -> NoReturn:
    """Become the command of the container ``name``; its output goes to a log with --detach.

    Raises SundogError.
    """
    line = run.line
    container = Container(
        name,
        run.image,
        line.operands[1:],
        process=Process.of(os.getpid()),
        created=int(time.time()),
        workdir=line.last("workdir") or run.facts.workdir,
        storage=storage_directory(run.context.storage),
        user=Who(run.user.mode, run.user.words or run.facts.user),
        detached=line.is_set("detach"),
    )
    translated = _translated(run, container.tag)
    containers.claim(container)
    if container.detached:
        log = containers.make_log(name)
        for stream in _STREAMS[1:]:
            os.dup2(log, stream)
    become_ch_run(translated, line, run.context)


def _translated(run: Run, tag: str) -> ChRunLine:
    return run_line(run.line, run.facts, run.caller, user=run.user, tag=tag)


def _keep(run: Run, containers: Containers, name: str, writer: int) -> int:
    """Start a detached container, wait for its end, and write down its exit status.

    ``writer`` is the end of a pipe that closes when the container starts; before that, it gets
    the reason if the container does not.
    """
    os.setsid()
    child = os.fork()
    if child == 0:
        try:
            _become(run, containers, name)
        except (SundogError, OSError) as error:
            os.write(writer, str(error).encode("utf-8", "backslashreplace"))
        return _FAILED
    os.close(writer)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in _STREAMS:
        os.dup2(null, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, status = os.waitpid(child, 0)
    container = containers.find(name)
    if container is not None and container.process.pid == child:
        if run.line.is_set("rm"):
            containers.remove(name)
        else:
            container.status = os.waitstatus_to_exitcode(status)
            containers.update(container)
    return 0


def _new_name(image: str) -> str:
    """Return a name for a container: that of its image, and a few random digits."""
    base = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return f"{base[:_NAME_LENGTH] or 'container'}-{secrets.token_hex(3)}"
