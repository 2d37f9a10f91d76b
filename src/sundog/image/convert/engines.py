"""Docker and Podman: images of theirs, by their own ``save`` and ``load``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 400


@dataclass(frozen=True, slots=True)
class Engine:
    """A program of this name; ``title`` is its name in messages."""

    program: str
    title: str

    @property
    def is_here(self) -> bool:
        """Tell whether the program is in $PATH."""
        return shutil.which(self.program) is not None

    def has(self, image: str) -> bool:
        """Tell whether the engine has an image; raise SundogError if it can't be asked."""
        if not image or image.startswith("-"):  # the engine would take it as an option
            raise SundogError(
                f"no name of an image: {image!r}", "a name begins with a letter or a digit"
            )
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [self.program, "image", "inspect", image],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                check=False,
            ).returncode
            if not done:
                return True
            text = _text(said)
        if "no such" in text.lower() or "not known" in text.lower():
            return False
        raise SundogError(f"{self.program}: {text or f'exit status {done}'}")

    @contextmanager
    def saved(self, image: str) -> Iterator[BinaryIO]:
        """Give the archive that ``save`` writes; the context reads it to its end."""
        with self._started("save", image, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            yield cast("BinaryIO", process.stdout)

    @contextmanager
    def loading(self) -> Iterator[BinaryIO]:
        """Give what ``load`` reads: an archive as ``docker save`` writes it."""
        with self._started("load", stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            yield cast("BinaryIO", process.stdin)

    @contextmanager
    def _started(
        self, *words: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program while the context lasts; raise SundogError if it fails."""
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [self.program, *words],
                stdin=stdin,
                stdout=stdout,
                stderr=said,
                start_new_session=True,
            )
            broken: BaseException | None = None
            try:
                yield process
                if process.stdin is not None:
                    process.stdin.close()
            except Exception as error:
                broken = error
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        _close(pipe)
                if not isinstance(error, BrokenPipeError) and process.poll() is None:
                    process.kill()
                    process.wait()
                    raise
            except BaseException:
                process.kill()
                process.wait()
                raise
            status = process.wait()
            if status:
                text = _text(said) or f"exit status {status}"
                raise SundogError(f"{self.program} {words[0]}: {text}") from broken
            if broken is not None:
                raise broken


ENGINES = {"docker": Engine("docker", "Docker"), "podman": Engine("podman", "Podman")}


def _close(pipe: IO[bytes]) -> None:
    with suppress(OSError):
        pipe.close()


def _text(said: BinaryIO) -> str:
    """Return the last line of what a program said."""
    said.seek(0)
    lines = [line for line in said.read(1 << 16).splitlines() if line.strip()]
    return lines[-1].decode("utf-8", "backslashreplace")[:_SHOWN] if lines else ""
