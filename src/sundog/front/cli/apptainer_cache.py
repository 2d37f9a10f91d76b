"""``sundog apptainer cache``: Sundog's storage, of which it deletes no image that has a name."""

from __future__ import annotations

import sys

from sundog.errors import UsageError
from sundog.front.apptainer.cache_options import EMPTY_TYPES, OWN_TYPES, TABLES
from sundog.front.apptainer.messages import INFO
from sundog.front.cli.output import human_size, print_line
from sundog.front.cli.sundog_context import image_line, run_safely
from sundog.front.cli.sundog_help import print_help
from sundog.front.options import scan, unknown
from sundog.image.store.layer_tree import layer_nodes, usage
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.messages import Messages
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line
    from sundog.image.store.layer_tree import Usage

_ANSWER_LIMIT = 100


def cache(words: Sequence[str], context: Context, messages: Messages) -> int:
    """Run a line of ``cache``; return the exit status.  Raises SundogError and OSError."""
    if not words or words[0] in ("--help", "-h", "help"):
        for name in TABLES:
            print_help(f"apptainer {name}")
        return 0 if words else 1
    name = f"cache {words[0]}"
    if name not in TABLES:
        raise unknown(words[0], [each.partition(" ")[2] for each in TABLES], "apptainer cache")
    line = scan(words[1:], TABLES[name], command=f"apptainer {name}")
    if line.is_set("help"):
        return print_help(f"apptainer {name}")
    if line.operands:
        raise UsageError(f"{name}: it takes no name", f"apptainer {name}")
    own = _is_own(line)
    if name == "cache list":
        return _list(line, context)
    if not own:
        messages.say(INFO, "nothing of these types is kept")
        return 0
    return _clean(line, context, messages)


def _is_own(line: Line) -> bool:
    """Tell whether the types of --type are those of Sundog's storage.  Raises UsageError."""
    types = [name for text in line.all("type") for name in text.split(",")] or ["all"]
    for name in types:
        if name not in (*OWN_TYPES, *EMPTY_TYPES):
            raise UsageError(f"--type {name}: no such type", ", ".join((*OWN_TYPES, *EMPTY_TYPES)))
    return not set(types).isdisjoint(OWN_TYPES)


def _list(line: Line, context: Context) -> int:
    """Print how much is in storage."""
    if (line.is_set("verbose") or line.is_set("all")) and not line.is_set("summary"):
        status = image_line(["list", "--long"], context)
        if status:
            return status
    counted = _usage(context)
    kept = counted.size - counted.cache_only_size

    def action() -> int:
        print_line(
            f"There are {counted.images} image(s) with a name using {human_size(kept)}"
            f" and {counted.entries} result(s) of builds using"
            f" {human_size(counted.cache_only_size)} of space"
        )
        print_line(f"Total space used: {human_size(counted.size)}")
        return 0

    return run_safely(action)


def _clean(line: Line, context: Context, messages: Messages) -> int:
    """Delete the build cache."""
    counted = _usage(context)
    size = human_size(counted.cache_only_size)
    messages.say(INFO, f"{counted.entries} result(s) of builds, which use {size}, can be deleted")
    messages.say(INFO, f"{counted.images} image(s) with a name stay: ch-image delete NAME")
    if line.is_set("dry-run"):
        return 0
    if not line.is_set("force"):
        sys.stdout.write("Do you want to continue? [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline(_ANSWER_LIMIT).strip().lower() not in ("y", "yes"):
            messages.say(INFO, "Cache cleanup canceled")
            return 0
    return image_line(["build-cache", "--reset"], context)


def _usage(context: Context) -> Usage:
    with Store.open(context.storage) as store:
        return usage(store, layer_nodes(store))
