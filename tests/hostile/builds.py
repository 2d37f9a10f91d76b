"""Builds of hostile inputs: the description of a case, and the place where it is tried.

Each case is a build in a process that is forked from this one, which has imported all that it
needs.  Its memory is bounded.  Beside its context is the directory ``outside``, whose files must
neither get into an image nor change.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sundog.errors import EXIT_ERROR
from sundog.front.cli import image_build, image_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Only the canary's file has this.
CANARY = b"canary-" + os.urandom(16).hex().encode()
_MEMORY = 3 << 30  # bytes of address space
_SECONDS = 60
_LONGEST = 20_000  # characters of messages
_MODULES = (image_build,)  # imported before anything is forked


@dataclass(frozen=True)
class Case:
    """One attack.

    text      the Dockerfile; ``OUTSIDE`` in it is the path of the directory outside
    says      a part of the one error, which shows line ``line`` (0: no line); without it, the build
              succeeds
    prints    the output of the RUNs; None for anything
    prepare   makes the context, except ``f`` in it
    options   of the command
    """

    name: str
    text: str | bytes
    says: str = ""
    line: int = 0
    prints: str | None = None
    prepare: Callable[[Place], object] | None = None
    options: tuple[str, ...] = ()
    usage: bool = False


class Place:
    """A directory for one case: ``context``, and ``outside`` with the canary."""

    def __init__(self, directory: Path, storage: Path) -> None:
        self.directory = directory
        self.storage = storage
        self.context = directory / "context"
        self.outside = directory / "outside"
        for path in (self.context, self.outside / "directory"):
            path.mkdir(parents=True)
        (self.context / "f").write_text("file\n")
        for path in (self.outside / "canary", self.outside / "directory/canary"):
            path.write_bytes(CANARY)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run ``ch-image``; return its exit status and its output."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the runner may have threads
                child = os.fork()
            if child == 0:
                self._become(arguments, out.fileno(), err.fileno())
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "surrogateescape"))
        return status, texts[0], texts[1]

    def _become(self, arguments: tuple[str, ...], out: int, err: int) -> None:
        """Run the command in this process, and end."""
        status = 70
        try:
            signal.alarm(_SECONDS)
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            null = os.open(os.devnull, os.O_RDONLY)
            kept = sys.stdin, sys.stdout, sys.stderr  # otherwise they would close new descriptors
            # The runner may have closed its own, so that these are among 0, 1 and 2 already.
            sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (null, out, err)]
            for target, source in enumerate(sources):
                os.dup2(source, target)
            sys.stdin = os.fdopen(0, closefd=False)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            sys.stdout.reconfigure(errors="surrogateescape")
            sys.stderr.reconfigure(errors="backslashreplace")
            os.environ["CH_IMAGE_STORAGE"] = str(self.storage)
            os.environ["CH_IMAGE_CACHE"] = "disabled"  # each case runs, whatever ran before
            os.chdir(self.directory)
            status = image_command.run(arguments)
            del kept
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def build(self, case: Case, tag: str = "img") -> tuple[int, str, str]:
        """Build a case's Dockerfile."""
        dockerfile = self.directory / "Dockerfile"
        text = case.text if isinstance(case.text, bytes) else case.text.encode()
        dockerfile.write_bytes(text.replace(b"OUTSIDE", bytes(self.outside)))
        options = [option.replace("OUTSIDE", str(self.outside)) for option in case.options]
        if "-f" not in options:
            options += ["-f", str(dockerfile)]
        return self.run("build", "-t", tag, *options, str(self.context))

    def look_outside(self) -> dict[str, tuple[object, ...]]:
        """Return all files outside, in a form that shows a change to any of them."""
        found: dict[str, tuple[object, ...]] = {}
        for top, directories, files in os.walk(self.outside):
            for name in (".", *directories, *files):
                path = os.path.join(top, name)
                info = os.lstat(path)
                found[path] = (info.st_mode, info.st_ino, info.st_mtime_ns, info.st_nlink)
        return found

    def layers(self) -> set[str]:
        """Return the layers of the storage."""
        return set(os.listdir(self.storage / "layers"))

    def holds_secret(self, layer: str) -> bool:
        """Tell whether the contents of the canary are in a layer."""
        for entry in _below(self.storage / "layers" / layer):
            if entry.is_file(follow_symlinks=False) and os.access(entry.path, os.R_OK):
                with open(entry.path, "rb") as file:
                    if CANARY in file.read():
                        return True
        return False

    def holds_canary(self, layer: str) -> bool:
        """Tell whether the canary, or its name, is in a layer."""
        names = (
            entry.name
            for entry in _below(self.storage / "layers" / layer)
            if not entry.is_symlink()
        )
        return "canary" in names or self.holds_secret(layer)

    def attempt(self, case: Case) -> str:
        """Build ``case`` and check all its promises; return the output for people."""
        if case.prepare is not None:
            case.prepare(self)
        outside, layers = self.look_outside(), self.layers()
        status, out, err = self.build(case)
        assert "Traceback" not in err, err
        assert "Error" not in err, err  # RecursionError and the like
        error = err[err.find("error: ") :] if case.says else ""
        assert len(error) < _LONGEST, len(error)
        assert "\x1b" not in error
        if case.says:
            assert status == (2 if case.usage else EXIT_ERROR), err
            assert case.says in err, err
            assert err.count("\nerror: ") + err.startswith("error: ") == 1, err
            assert not case.line or f":{case.line}: " in err, err
        else:
            assert status == 0, err
        assert case.prints is None or out == case.prints, out
        assert self.look_outside() == outside
        assert not any(self.holds_canary(layer) for layer in self.layers() - layers)
        assert CANARY not in os.fsencode(out + err)
        return err


def _below(top: Path) -> Iterator[os.DirEntry[str]]:
    """Return all entries below a directory, at any depth."""
    ahead = [os.fspath(top)]
    while ahead:
        try:
            with os.scandir(ahead.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
        except PermissionError:
            continue


def make_storage(directory: Path, busybox_tar: Path) -> Path:
    """Make a storage directory with the image ``bb``; return its path."""
    place = Place(directory, directory / "storage")
    status, _, err = place.run("import", str(busybox_tar), "bb")
    assert status == 0, err
    return place.storage
