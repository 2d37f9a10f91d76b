"""The places of a container's files: a process in its namespaces, or in some of its own."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager

from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, setns
from sundog.base.kernel.process import set_dumpable
from sundog.errors import SundogError
from sundog.front.cli.sundog_kept import settled
from sundog.front.podman.containers import changing
from sundog.front.podman.processes import members
from sundog.image.store.store import Store
from sundog.runtime.container.enter import (
    change_root,
    enter_namespaces,
    forbid_imports,
    mount_scratch,
)
from sundog.runtime.container.root import trees_of
from sundog.runtime.fuse.layer_server import enter_with
from sundog.runtime.process.child import STANDARD_STREAMS, Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.podman.container import Container
    from sundog.front.podman.containers import Containers
    from sundog.runtime.container.root import Root

_ENTRY = 10.0  # seconds until a process of a container that runs must let this one in
_PAUSE = 0.002  # seconds


class Place:
    """The host: a process there just acts."""

    def run(self, action: Callable[[], object], keep: Sequence[int]) -> Child:
        """Start ``action`` in a process with the descriptors ``keep``; return the process."""
        return Child(lambda tie: self._act(action, tie), keep)

    def _act(self, action: Callable[[], object], tie: Callable[[], None]) -> object:
        tie()
        return action()


class RunningPlace(Place):
    """The namespaces of a process of a container, whose pidfd is ``process``."""

    def __init__(self, process: int) -> None:
        self._process = process

    def run(self, action: Callable[[], object], keep: Sequence[int]) -> Child:
        """See ``Place``."""
        return Child(lambda tie: self._act(action, tie), [*keep, self._process], may_stick=True)

    def _act(self, action: Callable[[], object], tie: Callable[[], None]) -> object:
        _hide_streams()
        set_dumpable(False)
        setns(self._process, CLONE_NEWUSER | CLONE_NEWNS)
        set_dumpable(False)
        os.close(self._process)
        forbid_imports()
        os.chdir("/")
        tie()
        return action()


class EndedPlace(Place):
    """The root file system of a container that does not run."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def _act(self, action: Callable[[], object], tie: Callable[[], None]) -> object:
        enter_with(trees_of([self._root]), lambda: enter_namespaces(0, 0))
        tie()
        mount_scratch()
        change_root(self._root.mount(self._root.hold(writable=True)))
        os.chdir("/")
        return action()


HOST = Place()


@contextmanager
def files_of(
    containers: Containers, names: Sequence[str], context: Context
) -> Generator[dict[str, Place]]:
    """Return where the files of containers are.  One that does not run does not start meanwhile.

    Raises SundogError.
    """
    with ExitStack() as stack:
        places: dict[str, Place] = {}
        for name in dict.fromkeys(names):
            container = containers.get(name)
            if container.is_running:
                places[name] = RunningPlace(_entered(container))
            else:
                if not container.kept:
                    raise SundogError(f"{name}: it has ended, and kept nothing")
                stack.enter_context(changing(containers, container))
                store = stack.enter_context(Store.open(context.storage))
                settled(store, container)
                places[name] = EndedPlace(store.containers.root(container.identity))
        yield places


def _entered(container: Container) -> int:
    """Return a pidfd of a process in a container that lets this one enter its namespaces."""
    container.wait_for_group()
    due = time.monotonic() + _ENTRY
    while time.monotonic() < due:
        for pid in members(container.process.pid):
            try:
                process = os.pidfd_open(pid)
            except OSError:
                continue
            if container.is_running:
                return process
            os.close(process)
        if not container.is_running:
            break
        time.sleep(_PAUSE)  # its first process lets nobody in before it becomes the command
    raise SundogError(f"{container.name}: none of its processes can be entered")


def _hide_streams() -> None:
    """Let the standard streams be /dev/null: the container must not reach the caller's."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in STANDARD_STREAMS:
        os.dup2(null, stream)
    os.close(null)
