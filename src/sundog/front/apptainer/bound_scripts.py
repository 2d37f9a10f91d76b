"""Scripts of variables that a bind shows among those of the image, as module systems do."""

from __future__ import annotations

from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sundog.front.apptainer.binds import Bind

_DIRECTORY = "/.singularity.d/env"
_SUFFIX = ".sh"


def with_bound(
    scripts: Sequence[tuple[str, str | None]],
    binds: Iterable[Bind],
    read_script: Callable[[str], str | None],
) -> Sequence[tuple[str, str | None]]:
    """Return the ``scripts`` of an image with those that ``binds`` show, in the order of names.

    ``read_script`` returns the text of a file of the host, or None if a shell must read it.  Raises
    SundogError for a bind that shows a directory in place of the image's own.
    """
    found = dict(scripts)
    for bind in binds:
        directory, _, name = bind.target.rpartition("/")
        if f"{_DIRECTORY}/".startswith(f"{bind.target}/"):
            raise SundogError(
                f"{bind.told()}: the image's own scripts of variables are there",
                f"bind each script: SRC/NAME.sh:{_DIRECTORY}/NAME.sh",
            )
        if directory == _DIRECTORY and name.endswith(_SUFFIX):
            found[name] = read_script(bind.source)
    return sorted(found.items())
