"""Sundog: fully unprivileged containers for HPC.

docs/reference/api.md describes the functions for Python programs.  They are loaded when they are
used: each ``ch-run`` of a job imports this module.
"""

__version__ = "1.0.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog import errors as errors
    from sundog.front.api.building import build as build
    from sundog.front.api.converting import convert_image as convert_image
    from sundog.front.api.images import Image as Image
    from sundog.front.api.images import history as history
    from sundog.front.api.images import images as images
    from sundog.front.api.images import import_image as import_image
    from sundog.front.api.images import inspect as inspect
    from sundog.front.api.images import load as load
    from sundog.front.api.images import pull as pull
    from sundog.front.api.images import push as push
    from sundog.front.api.images import remove as remove
    from sundog.front.api.images import save as save
    from sundog.front.api.images import tag as tag
    from sundog.front.api.progress import Event as Event
    from sundog.front.api.running import run as run

_IMAGES = (
    *("Image", "history", "images", "import_image", "inspect", "load", "pull", "push"),
    *("remove", "save", "tag"),
)
_PLACES = {
    "build": "sundog.front.api.building",
    "convert_image": "sundog.front.api.converting",
    "Event": "sundog.front.api.progress",
    "run": "sundog.front.api.running",
    **dict.fromkeys(_IMAGES, "sundog.front.api.images"),
}


def __getattr__(name: str) -> object:
    """Load a function of the API, or ``sundog.errors``, when a program uses it first."""
    from importlib import import_module  # noqa: PLC0415 - each ch-run imports this module

    if name == "errors":
        return import_module("sundog.errors")
    if name not in _PLACES:
        raise AttributeError(f"module 'sundog' has no attribute {name!r}")
    with import_module("sundog.front.api").LOADING:
        return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), "errors", *_PLACES})
