"""``sundog ps``, ``stop``, ``kill``, ``rm``, ``wait`` and ``container exists``."""

from __future__ import annotations

import os
import select
import signal
import time

from sundog.base.kernel.files import Closing
from sundog.errors import SundogError, UsageError
from sundog.front.cli.container_filters import container_filters
from sundog.front.cli.output import print_json, print_line
from sundog.front.cli.sundog_context import new_report, run_safely
from sundog.front.cli.sundog_format import print_rows
from sundog.front.cli.sundog_scan import scanned, scanned_alone, scanned_one
from sundog.front.podman.container_options import EXISTS, KILL, PS, RM, STOP, WAIT
from sundog.front.podman.container_view import HEADINGS, ID_LENGTH, UNKNOWN_STATUS, View
from sundog.front.podman.containers import changing, own_containers
from sundog.front.podman.run_line import is_path
from sundog.front.podman.stopping import signal_number, whole_number
from sundog.front.podman.template_values import document
from sundog.front.podman.templates import Template
from sundog.front.stored import image_config, image_directory, storage_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line
    from sundog.front.podman.container import Container
    from sundog.front.podman.containers import Containers

_END = 10.0  # seconds after SIGKILL
_STATUS_LIMIT = 8  # bytes of an exit status
_LOOK = 0.02  # seconds between two looks at the record of a container that has ended
_TEMPLATE = (
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.CreatedHuman}}\t{{.Status}}\t{{.Ports}}"
    "\t{{.Names}}"
)
_WITH_SIZE = "\t{{.Size}}"


def ps(words: Sequence[str], context: Context) -> int:
    """List the containers that run, or all; return the exit status."""
    line = scanned_alone("ps", words, PS)
    if line is None:
        return 0
    form = line.last("format")
    has_size = line.is_set("size")
    default = _TEMPLATE + (_WITH_SIZE if has_size else "")
    template = Template(default if form is None else "" if form == "json" else form)
    last = 1 if line.is_set("latest") else whole_number(line.last("last"), "--last")

    def action() -> int:
        containers = own_containers(storage_directory(context.storage))
        views = [view_of(containers, each) for each in containers.list()]
        passed = container_filters(line.all("filter"), views, "ps")
        states = any(text.startswith(("status=", "exited=")) for text in line.all("filter"))
        if not (line.is_set("all") or states or last is not None):
            views = [view for view in views if view.container.is_running]
        views = [view for view in views if passed.pass_on(view)]
        if last is not None:
            views = views[-last:] if last else []
        if line.is_set("quiet"):
            for view in views:
                identity = view.container.identity
                print_line(identity if line.is_set("no-trunc") else identity[:ID_LENGTH])
            return 0
        sizes = _sizes(containers, views, context) if has_size else {}
        if form == "json":
            entries = [view.entry(sizes.get(view.container.identity)) for view in views]
            print_json(document(list(entries)))
            return 0
        whole = line.is_set("no-trunc")
        ids = _image_ids(views, context) if "ImageID" in (form or "") else {}
        rows = [
            view.row(
                whole=whole,
                image_id=ids.get(view.container.image, ""),
                size=sizes.get(view.container.identity),
            )
            for view in views
        ]
        print_rows(template, rows, HEADINGS, heading=not line.is_set("noheading"))
        return 0

    return run_safely(action)


def exists(words: Sequence[str], context: Context) -> int:
    """Return 0 if there is a container, else 1, as podman-container-exists(1)."""
    line = scanned_one("container exists", words, EXISTS, "CONTAINER")
    if line is None:
        return 0
    found = own_containers(storage_directory(context.storage)).find(line.operands[0])
    return 1 if found is None else 0


def stop(words: Sequence[str], context: Context) -> int:
    """Send the signal of each container, and SIGKILL after a while; return the exit status."""
    line = scanned("stop", words, STOP)
    if line is None:
        return 0
    grace = whole_number(line.last("time"), "--time")

    def act(containers: Containers, container: Container) -> None:
        if container.is_running:
            stop_container(containers, container, grace)

    return _for_each("stop", line, context, act)


def kill(words: Sequence[str], context: Context) -> int:
    """Send a signal; return the exit status."""
    line = scanned("kill", words, KILL)
    if line is None:
        return 0
    number = signal_number(line.last("signal") or "KILL", "--signal")

    def act(_: Containers, container: Container) -> None:
        _signal(container, number)

    return _for_each("kill", line, context, act, must_run=True)


def rm(words: Sequence[str], context: Context) -> int:
    """Remove containers that have ended, with their logs and changes; return the exit status."""
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
            _wait(container, _END)
            _ended(containers, container)
        remove(containers, [container], context)

    return _for_each("rm", line, context, act, ignore=force)


def wait(words: Sequence[str], context: Context) -> int:
    """Wait until containers have ended, and print their exit statuses; return the exit status."""
    line = scanned("wait", words, WAIT)
    if line is None:
        return 0
    if not line.operands:
        raise UsageError("wait: no container", "sundog wait CONTAINER…")

    def action() -> int:
        containers = own_containers(storage_directory(context.storage))
        for operand in line.operands:
            container = containers.find(operand)
            if container is None and line.is_set("ignore"):
                print_line("-1")
                continue
            print_line(str(_awaited(containers, containers.get(operand))))
        return 0

    return run_safely(action)


def _awaited(containers: Containers, container: Container) -> int:
    """Return the exit status of a container when it has ended, -1 if nobody saw the end."""
    written = containers.open_exit(container)  # with --rm, nothing else is left
    with open(os.devnull if written is None else written, "rb") as file:
        if container.is_running:
            _wait(container, None)
        ended = _ended(containers, container)  # it may have ended since it was looked at
        text = file.read(_STATUS_LIMIT)
    if ended.status is not None:
        return ended.status
    return int(text) if text.isdigit() else UNKNOWN_STATUS if ended.started else 0


def view_of(containers: Containers, container: Container) -> View:
    """Return the view of a container, with the configuration of its image."""
    if container.kept:
        return View(container, image_config(containers.kept.image(container.identity)))
    if is_path(container.image):
        return View(container, {})
    return View(container, image_config(image_directory(container.image, container.storage)))


def stop_container(containers: Containers, container: Container, grace: int | None) -> None:
    """Send a container its signal, and SIGKILL after ``grace`` seconds; None: its own time.

    Without any time, it gets SIGKILL alone, as from podman.
    """
    view = view_of(containers, container)
    name, hint = view.stop_signal or "TERM", f"sundog kill {container.name}"
    number = signal_number(name, "STOPSIGNAL", hint)
    patience = view.stop_timeout if grace is None else grace
    steps = ((number, patience), (signal.SIGKILL, _END))
    for sent, seconds in steps if patience else steps[1:]:
        if not _signal(container, sent) or _wait(container, seconds):
            break
    _ended(containers, container)


def remove(containers: Containers, ended: Sequence[Container], context: Context) -> None:
    """Remove containers that have ended, with all that belongs to them.

    Raises SundogError at one that has just started.
    """
    kept = [container for container in ended if container.kept]
    for container in ended:
        if not container.kept:
            containers.remove(container.name)
    if kept:
        from sundog.image.store.store import Store

        with Store.open(context.storage) as store:
            for container in kept:
                with changing(containers, container):
                    store.containers.wait_unused(container.identity)
                    containers.kept.forget_name(container)
                    store.containers.remove(container.identity)


def _for_each(
    name: str,
    line: Line,
    context: Context,
    act: Callable[[Containers, Container], None],
    *,
    must_run: bool = False,
    ignore: bool = False,
) -> int:
    """Do something with each container of the command line, and print its name.

    One that fails does not keep the others from their turn.
    """
    if not line.operands and not line.is_set("all"):
        raise UsageError(f"{name}: no container", f"sundog {name} CONTAINER…")

    def action() -> int:
        containers = own_containers(storage_directory(context.storage))
        operands = list(line.operands)
        if line.is_set("all"):
            every = containers.list()
            operands = [each.name for each in every if each.is_running or name == "rm"]
        failed = 0
        for operand in operands:
            try:
                if (ignore or line.is_set("ignore")) and containers.find(operand) is None:
                    continue
                act(containers, containers.get(operand, running=must_run))
                print_line(operand)
            except SundogError as error:
                if len(operands) == 1:
                    raise
                new_report().error(error)
                failed = 1
        return failed

    return run_safely(action)


def _signal(container: Container, number: int) -> bool:
    """Send a signal to a container's process; return False if it has ended."""
    try:
        with Closing(container.process.open()) as process:
            signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return False
    return True


def _wait(container: Container, seconds: float | None) -> bool:
    """Wait for the end of a container's process; return False if that takes longer."""
    try:
        with Closing(container.process.open()) as process:
            return bool(select.select([process], [], [], seconds)[0])
    except ProcessLookupError:
        return True


def _ended(containers: Containers, container: Container) -> Container:
    """Return a container that has just ended, when its exit status is there.

    A detached container has a process that writes it down, some milliseconds later.
    """
    due = time.monotonic() + _END
    while time.monotonic() < due:
        record = containers.recorded(container.name)
        if record is None or record.process.pid != container.process.pid or not record.is_running:
            break
        time.sleep(_LOOK)
    found = containers.named(container.name)
    return found if found is not None and found.identity == container.identity else container


def _sizes(
    containers: Containers, views: Sequence[View], context: Context
) -> dict[str, tuple[int, int]]:
    """Return for each kept container how large its changes are, and all its files."""
    from sundog.image.store.store import Store  # for --size

    found = {}
    with Store.open(context.storage) as store:
        for view in views:
            identity = view.container.identity
            if view.container.kept:
                count = containers.kept.count_layers(identity)
                found[identity] = store.containers.size(identity, count)
    return found


def _image_ids(views: Sequence[View], context: Context) -> dict[str, str]:
    """Return the IDs of the images of containers, by their names."""
    from sundog.front.cli.sundog_images import image_ids  # for this field
    from sundog.image.store.store import Store

    names = {view.container.image for view in views if not is_path(view.container.image)}
    with Store.open(context.storage) as store:
        return image_ids(store, names)
