"""Messages of ``ch-run-oci``, in the form that the caller asked for: text or JSON lines.

The fields of a line are those of runc (``level``, ``msg``, ``time``), because conmon, Podman and
containerd look for them.  Errors also go to standard error if a file is the log.
"""

from __future__ import annotations

import os
import time

from sundog.base.kernel.files import STDERR_FILENO
from sundog.base.kernel.libc import encode_text, escaped, printable
from sundog.errors import SundogError, UsageError

FORMATS = ("text", "json")


class Log:
    """The log of one command.  Each kind of warning is written once."""

    __slots__ = ("_fd", "_form", "_is_debugging", "_warned")

    def __init__(self, form: str = "text", *, is_debugging: bool = False) -> None:
        self._fd = STDERR_FILENO
        self._form = form
        self._is_debugging = is_debugging
        self._warned: set[str] = set()

    def use_file(self, path: str) -> None:
        """Append all further lines to the file ``path``.  Raises SundogError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o644)
        except OSError as error:
            shown = printable(encode_text(path))
            raise SundogError(f"cannot open the log {shown}: {error.strerror}") from None
        self._fd = fd

    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptor of the log's file, if there is one."""
        return () if self._fd == STDERR_FILENO else (self._fd,)

    def debug(self, text: str) -> None:
        """Tell how something is done (--debug)."""
        if self._is_debugging:
            self._write("debug", text)

    def warn_once(self, kind: str, text: str) -> None:
        """Warn, once for each ``kind``."""
        if kind not in self._warned:
            self._warned.add(kind)
            self._write("warning", text)

    def error(self, error: SundogError) -> None:
        """Tell why the command fails."""
        text = error.message if not error.hint else f"{error.message} (hint: {error.hint})"
        self._write("error", text)
        if self._fd != STDERR_FILENO:
            write(STDERR_FILENO, f"ch-run-oci: {escaped(text)}\n")

    def _write(self, level: str, text: str) -> None:
        import json  # most commands have nothing to tell

        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = escaped(text)
        if self._form == "json":
            line = json.dumps({"level": level, "msg": text, "time": now}, ensure_ascii=False)
        else:
            line = f'time="{now}" level={level} msg={json.dumps(text, ensure_ascii=False)}'
        write(self._fd, line + "\n")


def write(fd: int, line: str) -> None:
    """Write a line by one call; nobody can be told if that fails."""
    try:
        os.write(fd, line.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def check_format(form: str) -> str:
    """Return ``form``.  Raises UsageError for an unknown one."""
    if form not in FORMATS:
        raise UsageError(f"invalid log format: {form}", f"--log-format {'|'.join(FORMATS)}")
    return form
