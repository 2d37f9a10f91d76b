"""Jupyter's kernelspecs: those of an image, and one for the host that starts such a kernel.

Specification: jupyter_client's "Making kernels for Jupyter", "Kernel specs".  An image's kernelspec
is a stranger's: its words run in the image only.  Pure values: no I/O.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from sundog.base.fields import Fields
from sundog.base.spelling import nearest
from sundog.errors import SundogError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A shell of the image prints path and text of each kernelspec, each with a NUL behind it.  The
# programs' prefixes are those of conda and of virtual environments.
LISTING = r"""
set -- /usr/local /usr
for name in python3 python R julia jupyter; do
    program=$(command -v "$name") && set -- "$@" "${program%/bin/*}"
done
for prefix; do
    for file in "$prefix"/share/jupyter/kernels/*/kernel.json; do
        [ -f "$file" ] || continue
        printf '%s\0' "$file"
        head -c 65536 "$file"
        printf '\0'
    done
done
"""
LISTING_LIMIT = 1 << 20  # bytes
MARK = "sundog"  # the key of ``metadata`` in kernelspecs made here
_PREFERRED = "python3"
_MODES = ("signal", "message")
_FORBIDDEN = re.compile(r"[^a-z0-9._-]+")  # in the name of a kernelspec
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Kernel:
    """A kernelspec of an image: its name, and what Jupyter needs to know of it.

    ``environment`` is for the kernel.  The host's programs must not see it.
    """

    name: str
    argv: tuple[str, ...]
    display_name: str
    language: str
    interrupt_mode: str
    environment: Mapping[str, str]
    has_debugger: bool


def parse_listing(data: bytes) -> dict[str, Kernel]:
    """Return the kernelspecs that ``LISTING`` printed, by their names; raise SundogError.

    Of two with the same name, the first one counts, as in Jupyter.
    """
    texts = data.split(b"\0")
    if len(data) > LISTING_LIMIT or len(texts) % 2 == 0:
        raise SundogError("the image's shell did not print kernelspecs")
    found: dict[str, Kernel] = {}
    for path, text in zip(texts[::2], texts[1::2], strict=False):
        place = path.decode(errors="replace")
        name = place.rsplit("/", 2)[-2] if place.count("/") > 1 else place
        found.setdefault(name, _kernel(name, Fields.parse(text, place, SundogError)))
    return found


def _kernel(name: str, fields: Fields) -> Kernel:
    argv = fields.strings("argv")
    if not argv:
        raise SundogError(f"{fields.what}: no argv")
    environment = fields.string_map("env")
    for variable, value in environment.items():
        if not _VARIABLE.fullmatch(variable) or "${" in value:
            raise SundogError(
                f"{fields.what}: env: {variable}={value}: not possible here",
                "set the variable in the image, with ENV",
            )
    mode = fields.string("interrupt_mode") or _MODES[0]
    if mode not in _MODES:
        raise SundogError(f"{fields.what}: interrupt_mode: not one of {', '.join(_MODES)}: {mode}")
    return Kernel(
        name,
        argv,
        fields.string("display_name") or name,
        fields.string("language"),
        mode,
        environment,
        fields.nested("metadata").boolean("debugger"),
    )


def choose(kernels: Mapping[str, Kernel], wanted: str, image: str) -> Kernel:
    """Return the kernel of this name; if ``wanted`` is "", Python's, or the only one.

    Raises SundogError.
    """
    if not kernels:
        raise SundogError(
            f"no kernel for Jupyter in {image}",
            "RUN pip install ipykernel puts one into an image with Python",
        )
    name = wanted or (_PREFERRED if _PREFERRED in kernels else next(iter(kernels)))
    if name in kernels and (wanted or name == _PREFERRED or len(kernels) == 1):
        return kernels[name]
    known = ", ".join(kernels)
    if not wanted:
        raise SundogError(f"{image} has several kernels: {known}", f"--kernel {name}")
    close = nearest(wanted, kernels)
    hint = f"did you mean {close}?" if close else f"there are: {known}"
    raise SundogError(f"no kernel {wanted} in {image}", hint)


def chosen_name(given: str, image: str, kernel: Kernel) -> str:
    """Return the name of the kernelspec on the host; raise UsageError if ``given`` is none."""
    if given:
        if _FORBIDDEN.search(given.lower()) or not given.strip("."):
            raise UsageError(f"--name {given}: not a name of a kernelspec", "letters, digits, ._-")
        return given
    short = image.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[0]
    name = _FORBIDDEN.sub("-", f"{short}-{kernel.name}".lower()).strip(".-")
    return name or _PREFERRED


def kernelspec(kernel: Kernel, image: str, start: Sequence[str], display_name: str) -> bytes:
    """Return the text of the host's ``kernel.json``.

    The words ``start`` start a command in ``image``.
    """
    variables = [f"{name}={value}" for name, value in kernel.environment.items()]
    value = {
        "argv": [*start, *(["env", *variables] if variables else []), *kernel.argv],
        "display_name": display_name or f"{kernel.display_name} ({image})",
        "language": kernel.language,
        "interrupt_mode": kernel.interrupt_mode,
        "metadata": {"debugger": kernel.has_debugger, MARK: image},
    }
    return json.dumps(value, indent=1).encode() + b"\n"


def is_own(text: bytes) -> bool:
    """Tell whether the text of a ``kernel.json`` was made here."""
    try:
        return bool(Fields.parse(text, "", SundogError).nested("metadata").string(MARK))
    except SundogError:
        return False
