"""``sundog apptainer build TARGET FILE.def``: the image of a definition file."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from sundog.base.configuration.storage import default_storage, own_places
from sundog.errors import NotInStorage, SundogError, UsageError
from sundog.front.apptainer.binds import binds_of, mount_of
from sundog.front.apptainer.build import sections
from sundog.front.apptainer.line import listed
from sundog.front.cli.apptainer_conversion import convert_image, target_place
from sundog.front.cli.apptainer_pull import chosen_platform, new_session
from sundog.image.builder.chosen_force import chosen_force
from sundog.image.builder.definition.agents import Converted
from sundog.image.builder.definition.build import build_definition
from sundog.image.builder.definition.plan import Wanted, sections_of
from sundog.image.builder.document import read_document
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.options import CACHE_DISABLED, CACHE_ENABLED, BuildOptions, RunOptions
from sundog.image.convert.checks import check_output
from sundog.image.convert.formats import CH_IMAGE, DIRECTORY, SIF, Place
from sundog.image.convert.squash import find_maker
from sundog.image.definition.parse import SIZE_LIMIT, parse_definition, refuse_unused
from sundog.image.definition.template import read_values
from sundog.image.oci.timestamps import EPOCH_VARIABLE, parse_epoch
from sundog.image.store.store import Store
from sundog.runtime.container.hidden import checked_binds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.apptainer_report import ApptainerReport
    from sundog.front.options import Line
    from sundog.image.builder.bases import Pull
    from sundog.image.definition.values import Definition
    from sundog.image.oci.platform import Platform
    from sundog.image.store.image_files import Image

_STORED = "docker://"


def build_definition_file(line: Line, storage: str | None, report: ApptainerReport) -> int:
    """Build TARGET of the definition file SOURCE, the operands of ``line``; return 0.

    Raises SundogError; then nothing is at TARGET that was not there before.
    """
    target, source = line.operands
    is_update = line.is_set("update")
    _check_target(target_place(target, line), line, report)
    definition = _definition(source, line, report)
    wanted = Wanted(
        sections_of(sections(line)),
        runs_test=not line.is_set("notest"),
        base=Converted(Place(DIRECTORY, os.path.abspath(target))) if is_update else None,
    )
    with Store.open(storage, tell=report.info) as store:
        path = os.fsdecode(store.path)

        def fetched(address: str) -> str:
            from sundog.front.cli.apptainer_fetched import fetch_file  # a build seldom needs it

            return fetch_file(store, address, line, report)

        if target.startswith(_STORED):
            name = target.removeprefix(_STORED)
            options = _options(line, name, storage, report)
            build_definition(store, definition, wanted, options, report, fetch_file=fetched)
            return 0
        digest = hashlib.sha256(os.fsencode(os.path.abspath(target))).hexdigest()[:16]
        name = f"apptainer-build/{digest}"
        with store.turn(f"apptainer-{digest}").held(
            lambda: report.info(f"waiting for another build of {target}")
        ):
            options = _options(line, name, storage, report)
            build_definition(store, definition, wanted, options, report, fetch_file=fetched)
            try:
                convert_image(Place(CH_IMAGE, name), target, line, path, report)
            finally:
                with suppress(NotInStorage):
                    store.images.delete(name)
    report.info(f"build complete: {target}")
    return 0


def _check_target(place: Place, line: Line, report: ApptainerReport) -> None:
    """Raise SundogError if TARGET can't be made, or if something is there that must stay."""
    target = place.text
    if target.startswith(_STORED):
        return
    if line.is_set("update"):
        if not os.path.isdir(target):
            raise UsageError(f"--update: no such directory: {target}", "build it with --sandbox")
    elif os.path.lexists(target) and not line.is_set("force"):
        raise SundogError(f"build target already exists: {target}", "--force replaces it")
    check_output(Place(CH_IMAGE, ""), place, clobbers=True, info=report.verbose)
    if place.format == SIF:
        find_maker(has_offset=True)


def _definition(source: str, line: Line, report: ApptainerReport) -> Definition:
    """Read the definition file.  Raises SundogError."""
    try:
        texts = [
            text.strip()
            for path in line.all("build-arg-file")
            for text in os.fsdecode(read_document(path, SIZE_LIMIT)).split("\n")
        ]
        data = read_document(source, SIZE_LIMIT)
    except OSError as error:
        raise SundogError(f"can't read {error.filename or source}: {error.strerror}") from error
    lines = [text for text in texts if text and not text.startswith("#")]
    given = read_values(lines, "--build-arg-file")
    given |= read_values(line.all("build-arg"), "--build-arg")
    definition, unused = parse_definition(
        data, path=source, given=given, needs_header=not line.is_set("update")
    )
    if unused and line.is_set("warn-unused-build-args"):
        report.warning(f"--build-arg: not used: {' '.join(unused)}")
    else:
        refuse_unused(unused)
    return definition


def _options(line: Line, name: str, storage: str | None, report: ApptainerReport) -> BuildOptions:
    here = os.getcwd()
    given = [*binds_of(listed(line, "bind", escapes=True), here)]
    given += [mount_of(text, here) for text in line.all("mount")]
    storage_path = default_storage(os.environb) if storage is None else os.fsencode(storage)
    places = own_places(storage_path, os.environb)
    triples = [
        (os.fsencode(each.source), os.fsencode(each.target), each.writable) for each in given
    ]
    binds, own = checked_binds(triples, places, report.warning)
    return BuildOptions(
        (name,),
        BuildContext(None),
        RunOptions(
            force=chosen_force("auto", fallback=True, report=report),
            binds=tuple(binds),
            own=frozenset(own),
            own_places=tuple(places),
        ),
        environment=os.environ,
        epoch=parse_epoch(os.environ.get(EPOCH_VARIABLE, ""), f"${EPOCH_VARIABLE}"),
        cache_mode=CACHE_DISABLED if line.is_set("disable-cache") else CACHE_ENABLED,
        platform=chosen_platform(line),
        pull=_puller(line, report),
    )


def _puller(line: Line, report: ApptainerReport) -> Pull:
    """Return the function that pulls bases."""

    def pull_base(store: Store, text: str, platform: Platform | None) -> Image:
        from sundog.image.registry.options import PullOptions
        from sundog.image.registry.pull import pull

        report.info(f"pulling docker://{text}")
        session = new_session(line, report)
        return pull(store, session, text, text, options=PullOptions(platform), report=report)

    return pull_base
