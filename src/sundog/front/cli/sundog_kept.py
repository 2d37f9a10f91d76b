"""``sundog start``, ``restart``, ``commit`` and ``diff``: containers that keep their changes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from sundog.base.record.names import canonical_name
from sundog.errors import SundogError, UsageError
from sundog.front.cli.output import print_json, print_line
from sundog.front.cli.sundog_containers import stop_container, view_of
from sundog.front.cli.sundog_context import image_line, new_report, run_safely
from sundog.front.cli.sundog_named import start_made
from sundog.front.cli.sundog_run import own_caller
from sundog.front.cli.sundog_scan import scanned, scanned_one
from sundog.front.cli.sundog_start import Run
from sundog.front.podman.container_options import COMMIT, DIFF, RESTART, START
from sundog.front.podman.containers import changing, own_containers
from sundog.front.podman.kept_words import kept_line
from sundog.front.podman.run_line import command_user
from sundog.front.podman.stopping import whole_number
from sundog.front.podman.users import SECCOMP_ONLY
from sundog.front.stored import facts_of, storage_directory
from sundog.image.oci.config import HistoryEntry
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.podman.container import Container
    from sundog.front.podman.container_view import View
    from sundog.front.podman.containers import Containers
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.image_files import Image

_INTERACTIVE = "--interactive=true"
# The instructions of --change: they change the configuration of an image, and nothing else.
_CHANGES = (
    *("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD"),
    *("SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
_KINDS = {"changed": "C", "added": "A", "deleted": "D"}


def start(words: Sequence[str], context: Context) -> int:
    """Start containers again; return an exit status unless this process becomes one."""
    line = scanned("start", words, START)
    if line is None:
        return 0
    is_attached = line.is_set("attach") or line.is_set("interactive")
    if not line.operands or (is_attached and len(line.operands) > 1):
        raise UsageError("start: no container, or several with --attach", "sundog start CONTAINER…")
    failed = 0
    for operand in line.operands:
        try:
            failed |= start_again(
                operand, context, attach=is_attached, interactive=line.is_set("interactive")
            )
        except SundogError as error:
            if len(line.operands) == 1:
                raise
            new_report().error(error)
            failed = 1
    return failed


def restart(words: Sequence[str], context: Context) -> int:
    """Stop containers, and start them again in the background; return the exit status."""
    line = scanned("restart", words, RESTART)
    if line is None:
        return 0
    if not line.operands:
        raise UsageError("restart: no container", "sundog restart CONTAINER…")
    grace = whole_number(line.last("time"), "--time")
    for operand in line.operands:
        containers = own_containers(storage_directory(context.storage))
        container = _kept(containers, operand)
        if container.is_running:
            stop_container(containers, container, grace)
        start_again(operand, context, attach=False, interactive=False)
    return 0


def start_again(text: str, context: Context, *, attach: bool, interactive: bool) -> int:
    """Start a container with the changes of its earlier runs; return the exit status.

    With ``attach``, this process becomes its command.  Raises SundogError.
    """
    containers = own_containers(storage_directory(context.storage))
    container = _kept(containers, text)
    if container.is_running:
        if attach:
            raise SundogError(f"{container.name}: it runs", f"sundog exec {container.name} COMMAND")
        print_line(text)
        return 0
    words = [word for word in container.words if interactive or word != _INTERACTIVE]
    line = kept_line(words)
    facts = facts_of(containers.kept.image(container.identity))
    if facts is None:
        raise SundogError(
            f"{container.name}: its image is damaged", f"sundog rm -f {container.name}"
        )
    caller = own_caller()
    user = command_user(line, facts, caller)
    run = Run(line, container.image, facts, caller=caller, user=user, context=context)
    with changing(containers, container):
        if container.started:
            with Store.open(context.storage) as store:
                settled(store, container)
        return start_made(run, containers, container, detached=not attach)


def commit(words: Sequence[str], context: Context) -> int:
    """Make an image of a container that has ended, and print its ID; return the exit status."""
    line = scanned("commit", words, COMMIT)
    if line is None:
        return 0
    if len(line.operands) != 2:
        raise UsageError(
            "commit: it takes a container and the name of the image",
            "sundog commit CONTAINER IMAGE",
        )
    text, name = line.operands
    changes = [_change(value) for value in line.all("change")]

    def action() -> int:
        canonical = canonical_name(name)
        containers = own_containers(storage_directory(context.storage))
        container = _stopped(containers, text)
        tell = new_report().info
        with changing(containers, container), Store.open(context.storage, tell=tell) as store:
            image = settled(store, container)
            config = _of_container(image.config, view_of(containers, container))
            entry = HistoryEntry(
                created_by=f"sundog commit {container.name}",
                comment=line.last("message") or "",
                author=line.last("author") or "",
                empty_layer=True,
            )
            config = config.replace(
                author=line.last("author") or config.author, history=(*config.history, entry)
            )
            made = replace(
                image,
                reference=canonical,
                typed=name,
                config=config,
                origin=f"container {container.name}",
                blobs=(),
            )
            if not changes:
                store.images.put(made)
                print_line(made.whole_id)
                return 0
            draft = f"sundog-commit-{container.identity[:12]}"
            made = replace(made, reference=canonical_name(draft), typed=draft)
            store.images.put(made)
        try:
            return _changed(draft, name, changes, context)
        finally:
            with Store.open(context.storage) as store:
                store.images.delete(draft)

    return run_safely(action)


def _change(text: str) -> str:
    """Return the instruction of a ``--change``.  Raises UsageError unless it is a lone one."""
    change = text.strip()
    word = (change.split() or [""])[0]
    if word.upper() not in _CHANGES or len(change.splitlines()) != 1:
        raise UsageError(
            f"--change {text!r}: not one instruction that changes only the configuration",
            f"give one line of {', '.join(_CHANGES)}; others belong in a Dockerfile",
        )
    return change


def _of_container(config: ImageConfig, view: View) -> ImageConfig:
    """Return the configuration of an image that starts as the container did, as podman has it."""
    return config.replace(
        env=tuple(view.environment),
        cmd=tuple(view.command) or None,
        entrypoint=tuple(view.entrypoint) or None,
        user=view.line.last("user") or config.user,
        working_dir=view.line.last("workdir") or config.working_dir,
        labels=view.labels,
        stop_signal=view.stop_signal,
    )


def diff(words: Sequence[str], context: Context) -> int:
    """Print what a container has changed; return the exit status."""
    line = scanned_one("diff", words, DIFF, "CONTAINER")
    if line is None:
        return 0
    if line.last("format") not in (None, "json"):
        raise UsageError(f"--format {line.last('format')}: no such format", "--format json")

    def action() -> int:
        containers = own_containers(storage_directory(context.storage))
        container = _kept(containers, line.operands[0])
        count = containers.kept.count_layers(container.identity)
        with Store.open(context.storage) as store:
            found = store.containers.changes(container.identity, count)
        shown = [(kind, f"/{path.decode('utf-8', 'surrogateescape')}") for kind, path in found]
        if line.last("format") == "json":
            print_json(
                {
                    name: paths
                    for name, letter in _KINDS.items()
                    if (paths := [path for kind, path in shown if kind == letter])
                }
            )
            return 0
        for kind, path in shown:
            print_line(f"{kind} {path}")
        return 0

    return run_safely(action)


def settled(store: Store, container: Container) -> Image:
    """Make a layer of what a container has changed; return its image.

    It does not run.  Raises SundogError if processes of it are left.
    """
    if not store.containers.wait_unused(container.identity):
        raise SundogError(
            f"{container.name}: processes of it are left",
            "end them first: those of sundog exec, and those that its command left behind",
        )
    return store.containers.settle(container.identity, guessed=container.user.mode == SECCOMP_ONLY)


def _kept(containers: Containers, text: str) -> Container:
    container = containers.get(text)
    if not container.kept:
        raise SundogError(
            f"{container.name}: it keeps nothing", "start it without --rm, by a name of an image"
        )
    return container


def _stopped(containers: Containers, text: str) -> Container:
    container = _kept(containers, text)
    if container.is_running:
        raise SundogError(f"{container.name}: it runs", f"sundog stop {container.name}")
    return container


def _changed(image: str, name: str, changes: Sequence[str], context: Context) -> int:
    """Build the image ``name`` of ``image`` and instructions; print its ID."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "Dockerfile")
        file.write_text("\n".join([f"FROM {image}", *changes, ""]), encoding="utf-8")
        words = ["build", "--quiet", f"--tag={name}", f"--file={file}", "--", directory]
        status = image_line(words, context)
    if status == 0:
        with Store.open(context.storage) as store:
            print_line(store.images.get(name).whole_id)
    return status
