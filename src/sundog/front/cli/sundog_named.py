"""``sundog run``, ``create`` and ``start``: containers that can be found again."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager

from sundog.base.kernel.living_process import Process
from sundog.base.kernel.process import fork
from sundog.errors import SundogError
from sundog.front.ch_run_line import ChRunLine
from sundog.front.cli.sundog_start import Run, become_ch_run
from sundog.front.podman.container import NOBODY, Container, check_name
from sundog.front.podman.containers import Containers, own_containers
from sundog.front.podman.kept_words import kept_words
from sundog.front.podman.run_line import run_line, wanted_platform
from sundog.front.podman.statuses import WAITER
from sundog.front.podman.users import Who
from sundog.front.stored import storage_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import NoReturn

_FAILED = 1
_NAME_LENGTH = 40
_ID_BYTES = 32


def start(run: Run) -> int:
    """Become the command of a new container, or start it in the background.

    Return the exit status if it is in the background.  Raises SundogError.
    """
    containers = own_containers(storage_directory(run.context.storage))
    container = new_container(run, containers)
    with _noted_id(run, container):
        if not run.line.is_set("rm") and run.facts.is_layered:
            kept = container.changed(kept=True)
            container = kept if containers.kept.make(kept, wanted_platform(run.line)) else container
    return start_made(run, containers, container, detached=run.line.is_set("detach"))


def create(run: Run) -> int:
    """Make a container that does not start yet, and print its name; return the exit status.

    Raises SundogError if its changes could not be kept.
    """
    containers = own_containers(storage_directory(run.context.storage))
    container = new_container(run, containers).changed(kept=True)
    with _noted_id(run, container):
        if not _kept(run, containers, container):
            raise SundogError(
                f"create: {run.image}: here no container can keep its changes",
                "sundog run; for create, the image must be in a storage of yours that can be"
                " overlaid: ch-checkns",
            )
    _print(container.name)
    return 0


def _kept(run: Run, containers: Containers, container: Container) -> bool:
    """Make a container that keeps its changes; return False if it can't.  Raises SundogError."""
    if run.facts.is_shared:
        from sundog.front.cli.sundog_shared import keep_shared  # it loads all of the store

        return keep_shared(run, containers, container)
    return run.facts.is_layered and containers.kept.make(container, wanted_platform(run.line))


def new_container(run: Run, containers: Containers) -> Container:
    """Return a new container for a line; nothing is written.  Raises SundogError."""
    line = run.line
    name = line.last("name") or _new_name(run.image)
    check_name(name)
    id_file = line.last("cidfile")
    if id_file is not None and os.path.lexists(id_file):
        raise SundogError(f"--cidfile {id_file}: File exists", "name a file that is not there")
    containers.free(name)
    _translated(run, "", "")  # what is wrong with the line is said before anything starts
    return Container(
        name,
        run.image,
        line.operands[1:],
        identity=os.urandom(_ID_BYTES).hex(),
        words=kept_words(line, run.caller),
        process=NOBODY,
        created=time.time_ns(),
        workdir=line.last("workdir") or run.facts.workdir,
        storage=storage_directory(run.context.storage),
        user=Who(run.user.mode, run.user.words or run.facts.user),
        detached=False,
        kept=False,
    )


def start_made(run: Run, containers: Containers, container: Container, *, detached: bool) -> int:
    """Become the command of a container, or start it in the background.

    Return the exit status if it is in the background.  Raises SundogError.
    """
    container = container.changed(detached=detached, status=None, finished=0)
    if not detached:
        _become(run, containers, container, {})
    sys.stdout.flush()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if fork() == 0:
        os.close(reader)
        os._exit(_keep(run, containers, container, writer))
    os.close(writer)
    with open(reader, "rb") as pipe:
        failure = pipe.read().decode(errors="replace")
    if failure:
        raise SundogError(failure)
    started = containers.recorded(container.name)
    if started is not None:
        started.wait_for_group()
    _print(container.name)
    return 0


def running(name: str, storage: str | None) -> Container:
    """Return the container ``name``, which can be entered.  Raises SundogError if it has ended."""
    containers = own_containers(storage_directory(storage))
    containers.get(name, running=True).wait_for_group()
    return containers.get(name, running=True)


def _become(
    run: Run, containers: Containers, container: Container, told: dict[str, str]
) -> NoReturn:
    """Become the command of a container.  ``told`` are variables for ``ch-run``.

    Raises SundogError.
    """
    container = container.changed(process=Process.of(os.getpid()), started=time.time_ns())
    translated = _translated(run, container.tag, container.identity if container.kept else "")
    containers.claim(container)
    if container.detached:
        os.close(containers.make_log(container))
        containers.make_exit(container)
    if container.kept:
        containers.kept.begin(container.changed(process=NOBODY))
    started = ChRunLine(translated.arguments, translated.environment | told)
    become_ch_run(started, run.line, run.context)


def _translated(run: Run, tag: str, kept: str) -> ChRunLine:
    return run_line(run.line, run.facts, run.caller, user=run.user, tag=tag, kept=kept)


def _keep(run: Run, containers: Containers, container: Container, writer: int) -> int:
    """Start a detached container, write its log, and write down its exit status.

    ``writer`` is the end of a pipe that closes when the container starts; before that, it gets
    the reason if the container does not.
    """
    from sundog.front.cli.sundog_keeper import Keeper  # for this process alone

    os.setsid()
    keeper = Keeper()
    waiter = os.getpid()
    child = fork()
    if child == 0:
        try:
            keeper.connect()
            _become(run, containers, container, {WAITER: str(waiter)})
        except (SundogError, OSError) as error:
            os.write(writer, str(error).encode("utf-8", "backslashreplace"))
        return _FAILED
    os.close(writer)
    return keeper.keep(child, containers, container.name, forget=run.line.is_set("rm"))


@contextmanager
def _noted_id(run: Run, container: Container) -> Generator[None]:
    """Write the ID to the file of --cidfile; remove the file if the context fails.

    Raises SundogError.
    """
    path = run.line.last("cidfile")
    if path is None:
        yield
        return
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(container.identity)
    except OSError as error:
        raise SundogError(f"--cidfile {path}: {error.strerror}") from error
    try:
        yield
    except BaseException:
        os.unlink(path)
        raise


def _print(name: str) -> None:
    from sundog.front.cli.output import print_line  # it loads json

    print_line(name)


def _new_name(image: str) -> str:
    """Return a name for a container: that of its image, and a few random digits."""
    base = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return f"{base[:_NAME_LENGTH] or 'container'}-{os.urandom(3).hex()}"
