"""Run Sundog's own commands, those of this installation, as a user would."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from sundog.base.installation import own_command
from sundog.errors import NotHere, SundogError

TIME_LIMIT = 60  # seconds, for each command
_PREFIXES = ("error: ", "hint: ")


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands on a storage directory of their own, in the directory ``place``."""

    place: str

    def at(self, name: str) -> str:
        """Return the path of a file beside the storage directory."""
        return os.path.join(self.place, name)

    def run(self, name: str, *words: str) -> str:
        """Run a command of ours; return its standard output.  Raises SundogError if it fails."""
        return self.run_program([*own_command(name), *words])

    def start(self, name: str, *words: str) -> subprocess.Popen[str]:
        """Start a command of ours, for ``finish``."""
        return self._start([*own_command(name), *words])

    def run_program(self, words: list[str]) -> str:
        """Run any program, as ``run`` does."""
        return self.finish(self._start(words))

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Wait for a command; return its standard output.  Raises SundogError if it fails."""
        assert isinstance(process.args, list)
        name = os.path.basename(str(process.args[0]))
        try:
            output, errors = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise SundogError(f"{name} did not end within {TIME_LIMIT} s") from None
        except BaseException:
            process.kill()
            process.communicate()
            raise
        if process.returncode:
            raise _failure(name, process.returncode, errors)
        return output

    def _start(self, words: list[str]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                words,
                env=os.environ | {"CH_IMAGE_STORAGE": self.at("storage")},
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="surrogateescape",
            )
        except FileNotFoundError:
            raise NotHere(f"{words[0]} is not installed") from None


def _failure(name: str, status: int, errors: str) -> SundogError:
    """Return the error that a command printed, with its hint."""
    found = {}
    for line in errors.splitlines():
        for prefix in _PREFIXES:
            _, there, text = line.partition(prefix)
            if there:
                found[prefix] = text
    lines = errors.strip().splitlines()
    message = found.get("error: ") or (lines[-1] if lines else f"exit status {status}")
    return SundogError(f"{name}: {message}", found.get("hint: ", ""))
