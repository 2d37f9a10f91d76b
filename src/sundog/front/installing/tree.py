"""The directory of ``sundog install``: one tree for each architecture, behind one ``bin``.

    PREFIX/sundog-installation.json   the version; without it, a directory is none of ours
    PREFIX/bin/NAME                   the commands: links into the tree; of several trees, scripts
    PREFIX/share                      a link to the manual pages and completions of a tree
    PREFIX/modulefiles/sundog/        for Lmod and Environment Modules
    PREFIX/ARCHITECTURE/{bin,lib,share,pyvenv.cfg}    a virtual environment
    PREFIX/ARCHITECTURE/sundog-files.json             the paths of all its files

No file names PREFIX, so the directory may be moved.  The interpreter of a tree is a link to that of
the machine.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import sys
from contextlib import suppress

from sundog import __version__
from sundog.base.installation import COMMANDS
from sundog.base.kernel.drafts import replace_file
from sundog.base.kernel.files import symlink
from sundog.errors import SundogError
from sundog.front.installing.drafts import draft_of, remove_directory
from sundog.front.installing.parts import PACKAGES, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.installing.parts import Part

RECORD = "sundog-installation.json"  # packaging/ch-run looks for it, too
_FILES = "sundog-files.json"
_RECORD_LIMIT = 1 << 16  # bytes
_FILES_LIMIT = 1 << 24  # bytes
_SHOWN_LIMIT = 10  # names in an error
_MODULES = {"lua": ".lua", "tcl": ""}  # the suffixes of module files
_ALL_MAY_EXECUTE = 0o001


def install(prefix: str) -> str:
    """Install this version for this architecture in ``prefix``; return the tree's path.

    ``prefix`` is absent, empty, or has this version for other architectures.  Atomic.  Raises
    SundogError and OSError; then nothing has changed.
    """
    machine = os.uname().machine
    recorded = _record(prefix)
    tree = f"{prefix}/{machine}"
    if recorded is None:
        if os.path.lexists(prefix) and (not os.path.isdir(prefix) or os.listdir(prefix)):
            raise SundogError(
                f"{prefix} is there, and `sundog install` did not make it", "name a new directory"
            )
        found = parts()
        _make_parents(os.path.dirname(prefix))
        with draft_of(prefix) as draft:
            _make_tree(f"{draft}/{machine}", found)
            _make_shared(draft, machine)
    elif recorded != __version__:
        raise SundogError(
            f"{prefix} has Sundog {recorded}, and this is {__version__}",
            "give each version a directory of its own: jobs may use the other one",
        )
    elif os.path.lexists(tree):
        raise SundogError(
            f"{prefix} has Sundog {recorded} for {machine}",
            f"nothing to do; sundog uninstall --prefix {prefix} removes it",
        )
    else:
        found = parts()
        with draft_of(tree) as draft:
            _make_tree(draft, found)
            _share_commands(prefix, draft)
    return tree


def uninstall(prefix: str) -> None:
    """Remove a directory that ``install`` has made; raise SundogError and OSError."""
    if _record(prefix) is None:
        raise SundogError(
            f"{prefix} is not a directory of `sundog install`", f"it has no {RECORD} of yours"
        )
    others = sorted(_found(prefix) - _made(prefix))
    if others:
        more = f" and {len(others) - _SHOWN_LIMIT} more" if len(others) > _SHOWN_LIMIT else ""
        raise SundogError(
            f"{prefix} has what `sundog install` did not make: "
            f"{', '.join(others[:_SHOWN_LIMIT])}{more}",
            "move it away first",
        )
    remove_directory(prefix)


def _found(prefix: str) -> set[str]:
    """Return the paths in ``prefix`` of all files, and of directories in which nothing is."""
    found = set()
    for directory, directories, names in os.walk(prefix, onerror=_fail):
        links = [name for name in directories if os.path.islink(f"{directory}/{name}")]
        entries = [*names, *links] if names or directories else [""]
        for name in entries:
            path = os.path.relpath(f"{directory}/{name}", prefix)
            if not _is_byte_code(prefix, path):
                found.add(path)
    return found


def _fail(error: OSError) -> None:
    raise error


def _is_byte_code(prefix: str, path: str) -> bool:
    """Tell whether a path is that of byte code, which Python makes anew for other versions."""
    head, _, name = path.rpartition("/__pycache__/")
    source = f"{prefix}/{head}/{name.partition('.')[0]}.py"
    return bool(head) and name.endswith(".pyc") and os.path.isfile(source)


def _made(prefix: str) -> set[str]:
    """Return the paths in ``prefix`` of what ``install`` has made; raise SundogError."""
    modules = (f"modulefiles/sundog/{_record(prefix)}{suffix}" for suffix in _MODULES.values())
    made = {RECORD, "share", *modules, *(f"bin/{name}" for name in COMMANDS)}
    for tree in os.listdir(prefix):
        listed = _content(f"{prefix}/{tree}/{_FILES}", _FILES_LIMIT)
        if isinstance(listed, list):
            made.update(f"{tree}/{path}" for path in (_FILES, *listed))
    return made


def _record(prefix: str) -> str | None:
    """Return the version that ``prefix`` has, None if it is no directory of ours."""
    content = _content(f"{prefix}/{RECORD}", _RECORD_LIMIT)
    version = content.get("sundog") if isinstance(content, dict) else None
    return version if isinstance(version, str) else None


def _content(path: str, limit: int) -> object:
    """Return the content of a file of JSON that this user has made; None if it is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        if os.fstat(fd).st_uid != os.geteuid():
            return None
        try:
            return json.loads(file.read(limit))
        except (OSError, ValueError, RecursionError):
            return None


def _make_parents(directory: str) -> None:
    """Make the directories above, for all users whatever the umask is."""
    if not os.path.isdir(directory):
        _make_parents(os.path.dirname(directory))
        os.mkdir(directory)
        os.chmod(directory, 0o755)


def _make_tree(tree: str, found: Sequence[Part]) -> None:
    """Make the tree of this architecture: a virtual environment with its byte code."""
    python = os.path.realpath(sys.executable)
    for part in found:
        _copy(part.source, f"{tree}/{part.place}")
    version = ".".join(map(str, sys.version_info[:3]))
    settings = f"home = {os.path.dirname(python)}\ninclude-system-site-packages = false\n"
    _write(f"{tree}/pyvenv.cfg", f"{settings}version = {version}\n")
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for target, name in ((python, minor), (minor, "python3"), (minor, "python")):
        symlink(target, f"{tree}/bin/{name}")
    compileall.compile_dir(f"{tree}/{PACKAGES}", quiet=2, stripdir=tree)
    for directory, _, names in os.walk(tree):
        os.chmod(directory, 0o755)
        for name in names:  # the byte code: whatever the umask is
            if name.endswith(".pyc"):
                os.chmod(f"{directory}/{name}", 0o644)
    _write(f"{tree}/{_FILES}", json.dumps(sorted(_found(tree))) + "\n")


def _copy(source: str, target: str) -> None:
    """Copy a file with its time, by which byte code is valid, and its byte code; for all users."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
    status = os.stat(source)
    os.chmod(target, 0o755 if status.st_mode & 0o100 else 0o644)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
    if source.endswith(".py"):
        head, name = os.path.split(source)
        compiled = f"__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"
        if os.path.exists(f"{head}/{compiled}"):  # compileall makes it anew if it is stale
            _copy(f"{head}/{compiled}", f"{os.path.dirname(target)}/{compiled}")


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)


def _make_shared(prefix: str, machine: str) -> None:
    """Make what all architectures share, for one of them."""
    os.mkdir(f"{prefix}/bin")
    for name in COMMANDS:
        symlink(f"../{machine}/bin/{name}", f"{prefix}/bin/{name}")
    symlink(f"{machine}/share", f"{prefix}/share")
    for kind, suffix in _MODULES.items():
        with open(f"{prefix}/share/sundog/modulefile.{kind}", encoding="utf-8") as template:
            text = template.read().replace("@VERSION@", __version__)
        _write(f"{prefix}/modulefiles/sundog/{__version__}{suffix}", text)
    for directory in ("bin", "modulefiles", "modulefiles/sundog"):
        os.chmod(f"{prefix}/{directory}", 0o755)
    _write(f"{prefix}/{RECORD}", json.dumps({"sundog": __version__}) + "\n")


def _share_commands(prefix: str, tree: str) -> None:
    """Put into ``bin`` the script that chooses the tree of the machine on which it runs."""
    for name in COMMANDS:
        for place in (f"{tree}/share/sundog/{name}", f"{tree}/bin/{name}"):
            with suppress(FileNotFoundError), open(place, "rb") as file:
                replace_file(os.fsencode(f"{prefix}/bin/{name}"), file.read(), mode=0o755)
                break


def may_be_private(path: str) -> bool:
    """Tell whether other users may be unable to execute the program ``path``."""
    place = os.path.realpath(path)
    while os.stat(place).st_mode & _ALL_MAY_EXECUTE:
        if place == "/":
            return False
        place = os.path.dirname(place)
    return True
