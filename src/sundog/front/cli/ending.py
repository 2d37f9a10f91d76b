"""Run a command as this process, and end the process as the command says."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from sundog.errors import EXIT_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn


def run_and_end(run: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command with this process's arguments, and end the process.

    ``run`` returns the exit status; a negative one is the number of the signal to die of.  Nobody
    reads the output any more if a pipe is closed: then the process ends without a message.
    """
    try:
        status = run(sys.argv[1:])
        # All files are closed.  An orderly end of the interpreter takes a tenth of a short command.
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as end:  # argparse has printed the help or the version
        status = end.code if isinstance(end.code, int) else 0
        try:
            sys.stdout.flush()
        except OSError as error:
            status = _unwritten(error)
    except OSError as error:
        status = _unwritten(error)
    if status < 0:
        from sundog.runtime.process.interruption import die_of

        die_of(-status)
    os._exit(status)


def _unwritten(error: OSError) -> int:
    """Say that the help or the output got nowhere; return the exit status."""
    if not isinstance(error, BrokenPipeError):
        with suppress(OSError):
            sys.stderr.write(f"error: can't write: {error.strerror}\n")
            sys.stderr.flush()
    return EXIT_ERROR
