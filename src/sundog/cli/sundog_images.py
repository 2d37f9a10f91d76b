"""``sundog images`` and ``sundog image exists``: the images in storage, as podman lists them."""

from __future__ import annotations

import re
import time
from calendar import timegm

from sundog.cli.output import human_size, print_columns, print_line
from sundog.cli.sundog_command import image_line, run_safely, scanned, warn
from sundog.errors import UsageError
from sundog.podman.image_options import IMAGES, PLAIN
from sundog.podman.run_line import image_operand, is_id
from sundog.podman.stored import image_facts
from sundog.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.cli.sundog_command import Context
    from sundog.podman.options import Line
    from sundog.store.images import Image

_TEMPLATE = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_HEADINGS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}
_NONE = "<none>"
_UNITS = (
    (31_536_000, "year"),
    (2_592_000, "month"),
    (86_400, "day"),
    (3600, "hour"),
    (60, "minute"),
)


def images(words: Sequence[str], context: Context) -> int:
    """List all images, or those with a name; return the exit status."""
    line = scanned("images", words, IMAGES)
    if line is None:
        return 0
    warn(line)
    if len(line.operands) > 1:
        raise UsageError("images: too many operands", "sundog images [NAME]")
    template = line.last("format") or _TEMPLATE
    if template == "json":
        return image_line(["list", "--format=json", "--", *line.operands], context)
    unknown = [name for name in _FIELD.findall(template) if name not in _HEADINGS]
    if unknown or "{{" in _FIELD.sub("", template):
        raise UsageError(
            f"--format {template}: not possible here", f"json, or fields: {', '.join(_HEADINGS)}"
        )
    if line.is_set("quiet"):
        template = "{{.ID}}"
    return run_safely(lambda: _list(line, template, context))


def exists(words: Sequence[str], context: Context) -> int:
    """Return 0 if an image is in storage, else 1, as podman-image-exists(1)."""
    line = scanned("image exists", words, PLAIN)
    if line is None:
        return 0
    if len(line.operands) != 1:
        raise UsageError("image exists: it takes one IMAGE", "sundog image exists IMAGE")
    facts = image_facts(image_operand(line.operands[0]), context.storage)
    return 1 if facts is None else 0


def names_of_id(text: str, context: Context) -> list[str]:
    """Return the names of the images whose ID begins with ``text``; [] if it is no ID."""
    if not is_id(text):
        return []
    start = text.removeprefix("sha256:")
    with Store.open(context.storage) as store:
        return [image.typed for image in store.images.list() if image.id.startswith(start)]


def _list(line: Line, template: str, context: Context) -> int:
    name = line.operands[0] if line.operands else None
    with Store.open(context.storage) as store:
        rows = [
            _fields(image, human_size(store.images.size(image)))
            for image in store.images.list()
            if name is None or name in _names(image)
        ]
    is_table = template.startswith("table ")
    # The two characters \t stand for a tab, as in Go's templates of docker.
    template = template.removeprefix("table ").replace("\\t", "\t")
    if line.is_set("quiet"):
        rows = list({row["ID"]: row for row in rows}.values())
    shown = [_FIELD.sub(lambda match, row=row: row[match[1]], template) for row in rows]  # type: ignore[misc]
    if not is_table:
        for text in shown:
            print_line(text, "\t")
        return 0
    if not line.is_set("noheading"):
        shown = [_FIELD.sub(lambda match: _HEADINGS[match[1]], template), *shown]
    print_columns([text.split("\t") for text in shown])
    return 0


def _fields(image: Image, size: str) -> dict[str, str]:
    repository, tag = _names(image)[0], _NONE
    if ":" in repository.rpartition("/")[2]:
        repository, _, tag = repository.rpartition(":")
    elif "@" not in repository:
        tag = "latest"
    return {
        "Repository": repository,
        "Tag": tag,
        "ID": image.id,
        "CreatedSince": _since(image.config.created),
        "CreatedAt": image.config.created or _NONE,
        "Size": size,
    }


def _names(image: Image) -> list[str]:
    """Return the names by which an image can be asked for: as typed, in full, without tags."""
    names = [image.typed, image.reference]
    for name in tuple(names):
        head, colon, tag = name.rpartition(":")
        if colon and "/" not in tag:
            names.append(head)
    return names


def _since(created: str) -> str:
    """Return a time of RFC 3339 as an age in words, such as ``3 days ago``."""
    try:
        moment = timegm(time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return _NONE
    age = int(time.time()) - moment
    for seconds, unit in _UNITS:
        count = age // seconds
        if count > 0:
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
