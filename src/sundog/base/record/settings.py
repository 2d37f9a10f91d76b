"""Places of the settings of Sundog: the site's, and the user's.

Specification: XDG Base Directory Specification, ``$XDG_CONFIG_HOME`` and
``$XDG_CACHE_HOME``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.record.location import Variables

SITE_SETTINGS = b"/etc/sundog"
STORES_VARIABLE = b"CH_IMAGE_STORES"  # the key storage.image_stores


def user_settings(environment: Variables) -> bytes:
    """Return the directory of the user's settings; b"" if no variable names one."""
    home = environment.get(b"HOME")
    settings = environment.get(b"XDG_CONFIG_HOME") or (home + b"/.config" if home else b"")
    return settings + b"/sundog" if settings.startswith(b"/") else b""


def user_records(environment: Variables) -> bytes:
    """Return the directory of what is made from the user's settings, in that of the user's caches.

    It is in the root directory, where nobody writes, if no variable names one.
    """
    home = environment.get(b"HOME")
    caches = environment.get(b"XDG_CACHE_HOME") or (home + b"/.cache" if home else b"")
    return (caches if caches.startswith(b"/") else b"") + b"/sundog"
