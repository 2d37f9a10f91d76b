"""Platforms as people and documents spell them, in the one usual spelling, in Go's terms.

Specification: OCI image-spec v1.1, image-index.md §Platform Variants.  A platform is the operating
system, the architecture and the variant; the variant is "" if the architecture implies it.
"""

from __future__ import annotations

import os

from sundog.errors import UsageError

# uname -m, or another common spelling, → architecture and variant as registries list them.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armv8l": ("arm", "v7"),  # a 32-bit process on a 64-bit kernel
    "armv8b": ("arm", "v7"),
    "aarch32": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "armv5l": ("arm", "v5"),
    "armv5tel": ("arm", "v5"),
    "armv5tejl": ("arm", "v5"),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),  # whatever its byte order: no image is big-endian
    "mips64le": ("mips64le", ""),
}

# Variants that the architecture alone implies.
_IMPLIED_VARIANTS = {("arm64", "v8"), ("arm64", "8"), ("amd64", "v1"), ("amd64", "1")}
# What image-spec lets a configuration say: Go's names (``go tool dist list``), and an older one.
OPERATING_SYSTEMS = (
    *("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux"),
    *("netbsd", "openbsd", "plan9", "solaris", "wasi", "wasip1", "windows"),
)
_LINUX = "linux"
# Architecture → its variants, the newest first; "" is the implied one.
_OLDER_VARIANTS = {
    "amd64": ("v4", "v3", "v2", ""),
    "arm": ("v8", "v7", "v6", "v5"),
    "arm64": ("v9", ""),
}
_KEY_LIMIT = 64
_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")

PlatformName = tuple[str, str, str]


def usual_platform(os_name: str, architecture: str, variant: str) -> PlatformName:
    """Return a platform in its usual spelling.  An unknown architecture is returned unchanged."""
    architecture, implied = _MACHINES.get(architecture.lower(), (architecture.lower(), ""))
    variant = variant.lower() or implied
    if (architecture, variant) in _IMPLIED_VARIANTS:
        variant = ""
    if architecture == "arm":
        variant = f"v{variant}" if variant.isdigit() else variant or "v7"
    return os_name.lower(), architecture, variant


def host_platform() -> PlatformName:
    """Return this machine's platform, from uname(2)."""
    return usual_platform(_LINUX, os.uname().machine, "")


def parse_platform(text: str) -> PlatformName:
    """Read ``os/architecture[/variant]`` or ``architecture[/variant]``; raise UsageError.

    uname's spellings work too, and an implied variant is dropped: ``linux/aarch64`` and
    ``arm64/v8`` are both ``linux/arm64``.
    """
    parts = text.lower().split("/")
    if all(part and part.replace("_", "").replace("-", "").isalnum() for part in parts):
        if len(parts) == 1 and parts[0] in OPERATING_SYSTEMS:
            return parts[0], *host_platform()[1:]
        if len(parts) < 3 and parts[0] not in OPERATING_SYSTEMS:
            parts.insert(0, _LINUX)
        if len(parts) in (2, 3):
            return usual_platform(parts[0], parts[1], "".join(parts[2:]))
    raise UsageError(f"platform {text!r}: expected OS/ARCHITECTURE[/VARIANT]")


def runnable_platforms(platform: PlatformName) -> list[PlatformName]:
    """Return the platforms whose programs run on this one, the best first.

    A variant runs programs for older variants of its architecture (image-index.md, "Platform
    Variants").
    """
    os_name, architecture, variant = platform
    older = _OLDER_VARIANTS.get(architecture, ())
    if variant in older:
        older = older[older.index(variant) + 1 :]
    else:  # an unknown variant runs programs for the implied one
        older = tuple([each for each in older if not each])
    return [platform, *[(os_name, architecture, each) for each in older]]


def platform_text(platform: PlatformName) -> str:
    """Return the platform as people write it."""
    return "/".join(filter(None, platform))


def platform_key(platform: PlatformName) -> str:
    """Return a platform as a part of a file name: ``arm64``, ``arm%v7``, ``windows%amd64``.

    Raises UsageError for what is no platform; an image's configuration may have any text.
    """
    parts = [part for part in platform if part]
    if parts[:1] == [_LINUX]:
        del parts[0]
    key = "%".join(parts)
    if not all(map(_KEY_CHARACTERS.issuperset, parts)) or not 0 < len(key) <= _KEY_LIMIT:
        raise UsageError(f"not a platform: {platform_text(platform)[:_KEY_LIMIT]!r}")
    return key


def platform_of_key(key: str) -> PlatformName:
    """Return the platform of a key."""
    parts = key.split("%", 2)
    if parts[0] not in OPERATING_SYSTEMS:
        parts.insert(0, _LINUX)
    os_name, architecture, variant, *_ = (*parts, "", "")
    return os_name, architecture, variant
