"""The files of an image from which Enroot, and so pyxis, takes its configuration.

Specification: Enroot 4.1, doc/image-format.md.  ``/etc/rc`` is the command, ``/etc/environment``
has the variables, and ``/etc/fstab`` has mounts.  Enroot obeys what an image has there by chance,
so an image without volumes gets an empty ``/etc/fstab``.  ``/etc/rc`` reads ``/etc/rc.local``,
which pyxis writes if a step's own command is to run without ENTRYPOINT.
"""

from __future__ import annotations

import re
import shlex
import stat

from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.image.layer.below import Below
from sundog.image.layer.directory_owners import PLACEHOLDERS
from sundog.image.layer.whole_image import DIRECTORY, file_of, image_entries
from sundog.image.store.metadata import encoded
from sundog.image.store.volumes import volume_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.layer.below import LayerTree
    from sundog.image.layer.whole_image import Addition
    from sundog.image.oci.config import ImageConfig

_SHELL = ("/bin/sh",)
# fstab(5): these bytes stand for themselves only as octal numbers.
_OCTAL = {number: f"\\{number:03o}" for number in b" \t\n\\"}
_VOLUME = b"${ENROOT_ROOTFS}/%b /%b none x-create=dir,bind,rw,nosuid,nodev\n"
# Enroot puts a variable of the host there, in all of its files.
_HOSTS_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def enroot_files(config: ImageConfig, layers: Sequence[LayerTree]) -> dict[bytes, Addition]:
    """Return the files by path; a directory comes before what is in it.

    Each device that shows in ``layers``, the topmost first, becomes an empty file: the user runs
    ``enroot create``, and can't make devices.  Raises SundogError if something of the image is in
    the way: Enroot would follow a symlink on the host, and obey what it finds there.
    """
    with Below(layers) as view:
        devices = [
            entry.path for entry in image_entries(view, {}) if entry.record.kind in PLACEHOLDERS
        ]
        volumes = [path for path in volume_paths(config.volumes) if not _has_link(view, path)]
        files = {
            **dict.fromkeys(devices, file_of(b"")),
            b"etc": DIRECTORY,
            b"etc/environment": file_of(_environment(config)),
            b"etc/fstab": file_of(b"".join(map(_mount, volumes))),
            b"etc/rc": file_of(encoded(_command(config))),
            b"etc/rc.local": file_of(b""),
        }
        for path, addition in files.items():
            _check_place(view, path, is_directory=addition.is_directory)
    return files


def _check_place(view: Below, path: bytes, *, is_directory: bool) -> None:
    found = view.lookup(path)
    if found is not None and found.is_directory != is_directory:
        raise SundogError(
            f"/{printable(path)} of the image is {'no' if is_directory else 'a'} directory:"
            " Enroot would not find the image's configuration",
            "ch-convert -o squash makes a file for ch-run",
        )


def _environment(config: ImageConfig) -> bytes:
    """Return a line for each variable whose value a line can express.

    That is none with a newline, and none in which Enroot would put a variable of the host.
    """
    # Enroot takes one pair of quotes away, so a value's own quotes stay.
    lines = [f'{name}="{value}"\n' for name, value in sorted(config.environment.items())]
    kept = [x for x in lines if x.count("\n") == 1 and not _HOSTS_VARIABLE.search(x)]
    return encoded("".join(kept))


def _has_link(view: Below, path: bytes) -> bool:
    """Tell whether a symlink of the image is on the way: Enroot would follow it on the host."""
    steps = path.split(b"/")
    ways = (view.lookup(b"/".join(steps[: end + 1])) for end in range(len(steps)))
    return any(found is not None and stat.S_ISLNK(found.status.st_mode) for found in ways)


def _mount(volume: bytes) -> bytes:
    """Return the mount that makes a VOLUME writable, as Enroot's own images have it."""
    if b"${" in volume:
        return b""  # Enroot would put a variable of the host there
    path = b"".join(_OCTAL.get(byte, chr(byte)).encode("latin-1") for byte in volume)
    return _VOLUME % (path, path)


def _command(config: ImageConfig) -> str:
    """Return a script of sh: WORKDIR, then ENTRYPOINT with its arguments or with CMD."""
    workdir = shlex.quote(config.working_dir or "/")
    entrypoint, command = config.entrypoint or (), config.cmd or ()
    words = command if entrypoint else command or _SHELL
    return (
        f"mkdir -p -- {workdir} 2>/dev/null\n"
        f"cd -- {workdir} || exit 1\n"
        "unset OLDPWD\n"
        "[ ! -s /etc/rc.local ] || . /etc/rc.local\n"
        f"[ $# -gt 0 ] || set -- {_quoted(words)}\n"
        f'exec {_quoted(entrypoint)} "$@"\n'
    )


def _quoted(words: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, words))
