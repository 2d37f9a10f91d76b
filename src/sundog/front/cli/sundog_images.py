"""``sundog images`` and ``sundog image exists``: the images in storage, as podman lists them."""

from __future__ import annotations

import time
from contextlib import suppress
from fnmatch import fnmatchcase

from sundog.base.record.names import canonical_name
from sundog.errors import ReferenceSyntaxError, SundogError, UsageError
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_context import image_line, new_report, run_safely
from sundog.front.cli.sundog_format import print_rows
from sundog.front.cli.sundog_scan import scanned, scanned_one, warn
from sundog.front.cli.sundog_shared import shared_images
from sundog.front.podman.filters import Filters, has_label, truth
from sundog.front.podman.image_options import IMAGES, PLAIN
from sundog.front.podman.run_line import image_operand, is_id
from sundog.front.podman.template_values import Moment, Structure
from sundog.front.podman.templates import Template
from sundog.front.podman.times import age, decimal_size, parse_moment
from sundog.front.stored import found_facts
from sundog.image.store.images import is_glob
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line
    from sundog.image.store.image_files import Image
    from sundog.image.store.shared_images import SharedDescription

_TEMPLATE = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_READ_ONLY = "\t{{.ReadOnly}}"  # podman-images(1): if there is such an image
_HEADINGS = Structure(
    Repository="REPOSITORY",
    Tag="TAG",
    ID="IMAGE ID",
    Id="IMAGE ID",
    Digest="DIGEST",
    Created="CREATED",
    CreatedSince="CREATED",
    CreatedAt="CREATED AT",
    Size="SIZE",
    Labels="LABELS",
    Names="NAMES",
    ReadOnly="R/O",
    IsReadOnly="R/O",
)
_NONE = "<none>"
_ID_LENGTH = 12


def images(words: Sequence[str], context: Context) -> int:
    """List all images, or those with a name; return the exit status."""
    line = scanned("images", words, IMAGES)
    if line is None:
        return 0
    warn(line)
    if len(line.operands) > 1:
        raise UsageError("images: too many operands", "sundog images [NAME]")
    if line.last("format") == "json":
        if line.all("filter"):
            raise UsageError("--filter: not with --format json", "--format '{{json .}}'")
        return image_line(["list", "--format=json", "--", *line.operands], context)
    given = line.last("format")
    template = Template(given) if given else None
    return run_safely(lambda: _list(line, template, context))


def exists(words: Sequence[str], context: Context) -> int:
    """Return 0 if an image is in storage or in a shared store, else 1: podman-image-exists(1)."""
    line = scanned_one("image exists", words, PLAIN, "IMAGE")
    if line is None:
        return 0
    name = image_operand(line.operands[0])
    facts = found_facts(name, context.storage, new_report().warning)
    return 1 if facts is None else 0


def names_of_id(text: str, context: Context) -> list[str]:
    """Return the names of the images whose ID begins with ``text``; [] if it is no ID."""
    if not is_id(text):
        return []
    with Store.open(context.storage) as store:
        found = [image for image in store.images.list() if _has_id(image, text)]
        if not found:
            shared = [image.as_image() for image in shared_images(store)]
            return [image.typed for image in shared if _has_id(image, text)]
        for image in found:  # a name stands for the image that a command takes
            others = store.images.of_name(image.reference)
            if len(others) > 1 and store.images.get(image.reference).id != image.id:
                raise UsageError(
                    f"{text} is {image.typed} for {image.platform}",
                    f"ch-image with --arch={image.platform.architecture}, and the name",
                )
        return [image.typed for image in found]


def find_image(store: Store, text: str) -> Image | None:
    """Return the image in storage with a name or an ID, None if there is none."""
    word = image_operand(text)
    if is_glob(word):
        return None
    found = [image for images in store.images.matching(word).values() for image in images]
    if not found and is_id(word):
        found = [image for image in store.images.list() if _has_id(image, word)]
    return found[0] if found else None


def find_shared(store: Store, text: str) -> SharedDescription | None:
    """Return the image of a shared store with a name or an ID, None if there is none.

    ``store`` has no such image.  Raises SundogError.
    """
    word = image_operand(text)
    found = (shared for shared in shared_images(store) if _is_called(shared.as_image(), word))
    return next(found, None)


def image_ids(store: Store, names: Collection[str]) -> dict[str, str]:
    """Return the IDs of images in storage, or else in shared stores, by their names or IDs.

    What is no image has none.
    """
    found = {name: find_image(store, name) for name in names}
    lacking = [name for name, image in found.items() if image is None]
    with suppress(SundogError):  # another image in a shared store is damaged
        for image in [each.as_image() for each in shared_images(store)] if lacking else ():
            found |= {name: image for name in lacking if _is_called(image, image_operand(name))}
    return {name: image.whole_id for name, image in found.items() if image is not None}


def filters(
    texts: Sequence[str], found: Sequence[Image], command: str, shared: Collection[str] = ()
) -> Filters:
    """Return the filters ``texts`` of a command about images; ``found`` are all images.

    ``shared`` has the references of those in shared stores.  Raises UsageError.
    """

    def compared(name: str, *, older: bool) -> Callable[[str], Callable[[Image], bool]]:
        def read(value: str) -> Callable[[Image], bool]:
            others = [image for image in found if _is_called(image, value)]
            if not others:
                raise UsageError(f"--filter {name}={value}: no such image", "sundog images")
            bound = Moment.of(others[0].config.created).nanoseconds
            if older:
                return lambda image: Moment.of(image.config.created).nanoseconds < bound
            return lambda image: Moment.of(image.config.created).nanoseconds > bound

        return read

    def until(value: str) -> Callable[[Image], bool]:
        bound = parse_moment(value, "--filter until", time.time_ns())
        return lambda image: Moment.of(image.config.created).nanoseconds <= bound

    def dangling(value: str) -> Callable[[Image], bool]:
        wanted = truth(value, "dangling")  # every image here has a name
        return lambda image: not wanted  # noqa: ARG005

    def read_only(value: str) -> Callable[[Image], bool]:
        wanted = truth(value, "readonly")
        return lambda image: (image.reference in shared) is wanted

    return Filters(
        texts,
        {
            "dangling": dangling,
            "reference": lambda value: lambda image: _matches(image, value),
            "label": lambda value: lambda image: has_label(dict(image.config.labels), value),
            "before": compared("before", older=True),
            "since": compared("since", older=False),
            "after": compared("after", older=False),
            "until": until,
            "readonly": read_only,
            "id": lambda value: lambda image: _has_id(image, value),
        },
        command,
    )


def _list(line: Line, template: Template | None, context: Context) -> int:
    name = line.operands[0] if line.operands else None
    whole = line.is_set("no-trunc")
    with Store.open(context.storage) as store:
        shared = {each.reference: each for each in shared_images(store)}
        everything = [*store.images.list(), *(each.as_image() for each in shared.values())]
        passed = filters(line.all("filter"), everything, "images", shared)
        found = [
            image
            for image in everything
            if (name is None or _is_named(image, name)) and passed.pass_on(image)
        ]
        if line.is_set("quiet"):
            for identity in dict.fromkeys(image.whole_id for image in found):
                print_line(identity if whole else identity[:_ID_LENGTH])
            return 0
        rows = []
        for image in found:
            other = shared.get(image.reference)
            size = other.size if other else store.images.size(image)
            rows.append(_fields(image, size, whole=whole, read_only=other is not None))
    if template is None:
        is_mixed = any(image.reference in shared for image in found)
        template = Template(_TEMPLATE + _READ_ONLY * is_mixed)
    print_rows(template, rows, _HEADINGS, heading=not line.is_set("noheading"))
    return 0


def _fields(image: Image, size: int, *, whole: bool, read_only: bool) -> Structure:
    repository, digest, _ = _names(image)[0].partition("@")
    tag = _NONE
    if ":" in repository.rpartition("/")[2]:
        repository, _, tag = repository.rpartition(":")
    elif not digest:
        tag = "latest"
    identity, created = image.whole_id, Moment.of(image.config.created)
    known = created.nanoseconds != Moment().nanoseconds
    since = f"{age(time.time() - created.seconds)} ago" if known else _NONE
    return Structure(
        Repository=repository,
        Tag=tag,
        ID=identity if whole else identity[:_ID_LENGTH],
        Id=identity,
        Digest=image.blobs[0] if image.blobs else _NONE,
        Created=since,
        CreatedSince=since,
        CreatedAt=Moment(created.seconds * 1_000_000_000) if known else _NONE,
        Size=decimal_size(size, 3, " "),
        Labels=dict(image.config.labels),
        Names=[image.typed],
        ReadOnly=read_only,
        IsReadOnly=read_only,
    )


def _is_called(image: Image, text: str) -> bool:
    return _is_named(image, text) or _has_id(image, text)


def _is_named(image: Image, text: str) -> bool:
    """Tell whether ``text`` is the name of an image in any spelling, or that without its tag."""
    try:
        return text in _names(image) or canonical_name(text) == image.reference
    except ReferenceSyntaxError:
        return False


def _has_id(image: Image, text: str) -> bool:
    return is_id(text) and image.whole_id.startswith(text.removeprefix("sha256:"))


def _names(image: Image) -> list[str]:
    """Return the names by which an image can be asked for: as typed, in full, without tags."""
    names = [image.typed, image.reference]
    for name in tuple(names):
        head, colon, tag = name.rpartition(":")
        if colon and "/" not in tag:
            names.append(head)
    return names


def _matches(image: Image, pattern: str) -> bool:
    """Tell whether a name of an image, or its last component, matches a glob."""
    names = _names(image)
    names += [name.rpartition("/")[2] for name in names]
    return any(fnmatchcase(name, pattern) for name in names)
