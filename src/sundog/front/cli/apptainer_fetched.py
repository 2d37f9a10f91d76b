"""IMAGEs that come into storage first: layouts, archives, SIFs of registries and servers."""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.record.known_layouts import LAYOUT_RECORD_LIMIT, KnownLayout
from sundog.errors import NotInStorage
from sundog.front.apptainer.image import ADDRESSES, LAYOUTS, STORED, split_layout
from sundog.front.stored import image_facts, storage_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.front.apptainer.messages import Messages
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import WatchingReport


def resolved(image: str, context: Context, messages: Messages) -> str:
    """Return IMAGE, or what stands for it in storage: ``docker://NAME``, or the path of a SIF.

    Brings it there if need be, in a process of its own: this one must have no threads.  Raises
    SundogError.
    """
    if image.startswith(LAYOUTS):
        path, tag = split_layout(image)
        if not os.path.lexists(path):
            raise NotInStorage(f"could not open image {path}: no such file or directory")
        path = os.path.abspath(path)
        name = _recorded(path, tag, context.storage) or _load(path, tag, context, messages)
        return f"{STORED}{name}"
    if image.startswith(ADDRESSES):
        return _in_child(
            lambda store, report: fetch_file(store, image, None, report), context, messages
        )
    return image


def _recorded(path: str, tag: str, storage: str | None) -> str | None:
    """Return the name of the image of a layout that was brought into storage before."""
    with suppress(OSError):
        known = KnownLayout(os.fsencode(path), os.fsencode(tag))
        place = os.path.join(os.fsencode(storage_directory(storage)), known.place)
        with open(place, "rb") as file:
            name = known.unpack(file.read(LAYOUT_RECORD_LIMIT))
        if name is not None and image_facts(name, storage) is not None:
            return name
    return None


def _load(path: str, tag: str, context: Context, messages: Messages) -> str:
    def load(store: Store, report: WatchingReport) -> str:
        from sundog.image.convert.stored_layout import stored_layout
        from sundog.image.oci.platform import Platform

        layout, platform = (os.fsencode(path), os.fsencode(tag)), Platform.of_host()
        return stored_layout(store, *layout, platform=platform, report=report, loads=True).name

    return _in_child(load, context, messages)


def fetch_file(store: Store, source: str, line: Line | None, report: WatchingReport) -> str:
    """Return the path of the SIF at an address of a registry or a web server.

    ``line`` may have a login for the registry.
    """
    from sundog.front.cli.apptainer_pull import new_session
    from sundog.image.registry.sif_files import ORAS, oras_file, web_file

    if source.startswith(ORAS):
        session = new_session(line, report)
        return oras_file(store, session, source.removeprefix(ORAS), report)
    return web_file(store, os.environ, source, report)


def _in_child(
    act: Callable[[Store, WatchingReport], str], context: Context, messages: Messages
) -> str:
    """Return what ``act`` returns in a process of its own.  Raises SundogError."""
    from sundog.runtime.process.child import Child

    def inside(tie: Callable[[], None]) -> str:
        tie()
        from sundog.front.cli.apptainer_report import ApptainerReport
        from sundog.image.store.store import Store

        report = ApptainerReport(messages)
        with Store.open(context.storage, tell=report.info) as store:
            return act(store, report)

    return str(Child(inside).result())
