"""The settings of a site in apptainer.conf: what containers show, and what they do not.

Specification: the comments in Apptainer's etc/apptainer.conf.  Other settings have no effect here.
"""

from __future__ import annotations

from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SITE_FILE = "/etc/apptainer/apptainer.conf"
SITE_VARIABLE = "APPTAINER_CONFIG_FILE"
_LIMIT = 1 << 20  # bytes
_MOUNTS = ("home", "tmp", "proc", "sys", "dev", "devpts")  # of ``mount NAME = no``
_NO = ("no", "false", "0")
_FEW_DEVICES = ("mount dev", "minimal")
# These are shown in any case.
_SHOWN = ("/etc/localtime", "/etc/hosts", "/etc/resolv.conf", "/dev", "/proc", "/sys")


class Site:
    """The settings.

    binds            fields of --bind
    left_out         names of --no-mount
    has_few_devices  whether each container has the /dev of --contain
    """

    __slots__ = ("binds", "has_few_devices", "left_out")

    def __init__(
        self,
        binds: Sequence[str] = (),
        left_out: Sequence[str] = (),
        *,
        has_few_devices: bool = False,
    ) -> None:
        self.binds = binds
        self.left_out = left_out
        self.has_few_devices = has_few_devices


def read_site(path: str | None) -> Site:
    """Return the settings in the file ``path``; None stands for the site's, which may be missing.

    Raises SundogError for a file that is named and can't be read.
    """
    try:
        with open(path or SITE_FILE, "rb") as file:
            text = file.read(_LIMIT).decode("utf-8", "surrogateescape")
    except OSError as error:
        if path is None:
            return Site()
        raise SundogError(
            f"${SITE_VARIABLE}: can't read {path}: {error.strerror}", "unset it, or name a file"
        ) from error
    return settings_of(text)


def settings_of(text: str) -> Site:
    """Return the settings in the text of a file."""
    binds, left_out, has_few_devices = [], [], False
    for line in text.splitlines():
        key, equals, value = line.partition("#")[0].partition("=")
        name, value = " ".join(key.split()), value.strip()
        if not equals or not value:
            continue
        if name == "bind path" and value not in _SHOWN:
            binds.append(value)
        left_out += [each for each in _MOUNTS if name == f"mount {each}" and value.lower() in _NO]
        has_few_devices |= (name, value.lower()) == _FEW_DEVICES
    return Site(binds, left_out, has_few_devices=has_few_devices)
