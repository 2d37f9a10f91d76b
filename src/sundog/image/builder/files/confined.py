"""Run a program of the host that sees nothing of the host but itself and its libraries.

For programs that follow paths and symlinks which a context or an image may have chosen.  The
program's root is a read-only tmpfs with the host's system directories, read-only, and the given
trees.  So no symlink leads to another file of the host, and nothing else can be written.

The caller is in namespaces of its own: see ``steps.step.in_root``.
"""

from __future__ import annotations

import os
import signal
import subprocess
from shutil import which

from sundog.base.kernel.mounts import (
    AT_EMPTY_PATH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
    mount_setattr,
    move_mount,
    open_tree,
)
from sundog.base.kernel.process import set_no_new_privs, set_pdeathsig
from sundog.errors import BuildError
from sundog.image.fromhost.linked import linked
from sundog.runtime.container.enter import copy_tree, mount_scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Places of programs and their libraries: directories, or symlinks into /usr.
_SYSTEM = (b"bin", b"lib", b"lib32", b"lib64", b"libx32", b"sbin", b"usr", b"nix", b"gnu")
_LIBRARY_CACHE = b"etc/ld.so.cache"
EMPTY = b"empty"  # a directory that every confined program has


def find_program(name: str, use: str, hint: str) -> str:
    """Return the path of a program of the host; raise BuildError if it is missing."""
    path = which(name)
    if path is None:
        raise BuildError(f"{use} needs {name}, which is not installed here", hint)
    return os.path.abspath(path)


def run_confined(
    argv: Sequence[bytes],
    trees: Mapping[bytes, int],
    working_directory: bytes,
) -> tuple[int, bytes, bytes]:
    """Run a program to its end; return its exit status, output, and error output.

    ``trees`` are detached mounts, by their names in the program's root.  A negative status is a
    signal's number.
    """
    scratch = mount_scratch()
    for name in _SYSTEM:
        _show_system(scratch, name)
    _show_outsiders(scratch, argv[0])
    for name, tree in trees.items():
        os.mkdir(name, dir_fd=scratch)
        move_mount(tree, b"", scratch, name, MOVE_MOUNT_F_EMPTY_PATH)
        os.close(tree)
    os.mkdir(EMPTY, dir_fd=scratch)
    mount_setattr(scratch, b"", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)

    def enter() -> None:
        set_pdeathsig(signal.SIGKILL)
        os.fchdir(scratch)
        os.chroot(b".")
        os.chdir(working_directory)
        set_no_new_privs()

    environment = {b"HOME": b"/nonexistent", b"LC_ALL": b"C", b"PATH": b"/usr/bin:/bin"}
    if b"LD_LIBRARY_PATH" in os.environb:
        environment[b"LD_LIBRARY_PATH"] = os.environb[b"LD_LIBRARY_PATH"]
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        preexec_fn=enter,
    )
    os.close(scratch)
    return done.returncode, done.stdout, done.stderr


def writable_tree(directory: int) -> int:
    """Return a detached copy of the mount that an open directory is the root of."""
    return open_tree(directory, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH)


def read_only_tree(path: bytes) -> int:
    """Return a detached, read-only copy of the mounts at a directory of the host."""
    return copy_tree(path, writable=False)


def _show_system(scratch: int, name: bytes) -> None:
    path = b"/" + name
    if os.path.islink(path):
        os.symlink(os.readlink(path), name, dir_fd=scratch)
    elif os.path.isdir(path):
        _show(scratch, path)


def _show_outsiders(scratch: int, program: bytes) -> None:
    """Show what the program needs outside of the system's directories."""
    if os.path.exists(b"/" + _LIBRARY_CACHE):
        os.mkdir(os.path.dirname(_LIBRARY_CACHE), dir_fd=scratch)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        os.close(os.open(_LIBRARY_CACHE, flags, 0o644, dir_fd=scratch))
        _attach(scratch, b"/" + _LIBRARY_CACHE)
    real = os.path.realpath(program)
    if real.split(b"/")[1] in _SYSTEM:
        return
    places = [os.path.dirname(path) for path in (program, real, *linked(real).files)]
    for place in dict.fromkeys(places):
        if place.split(b"/")[1] not in _SYSTEM:
            _show(scratch, place)


def _show(scratch: int, path: bytes) -> None:
    """Show a directory of the host at its own path."""
    names = path.strip(b"/").split(b"/")
    for count in range(1, len(names) + 1):
        try:
            os.mkdir(b"/".join(names[:count]), dir_fd=scratch)
        except FileExistsError:
            continue
    _attach(scratch, path)


def _attach(scratch: int, path: bytes) -> None:
    tree = copy_tree(path, writable=False)
    move_mount(tree, b"", scratch, path.lstrip(b"/"), MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)
