"""The entry point of ``ch-run-oci``: from a command line to an exit status.

Exit statuses: 0; 1, it failed; of ``run`` and ``exec``, that of the container's command.  Each
command imports only what it needs.
"""

from __future__ import annotations

import gc
import os
import sys

from sundog import __version__
from sundog.base.cpython import SIG_DFL, SIGCHLD, signal
from sundog.errors import EXIT_ERROR, SundogError
from sundog.front.oci_runtime.arguments import COMMANDS, Arguments
from sundog.front.oci_runtime.log import Log, check_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


_STDERR = 2
_ALLOCATIONS = 50_000  # as for ch-image
# command → module and function
_FUNCTIONS = {
    "create": ("create", "create"),
    "run": ("run", "run"),
    "start": ("lifecycle", "start"),
    "state": ("lifecycle", "state"),
    "kill": ("lifecycle", "kill"),
    "delete": ("lifecycle", "delete"),
    "exec": ("join", "execute_in"),
    "list": ("lifecycle", "list_containers"),
    "ps": ("lifecycle", "list_processes"),
    "features": ("features", "features"),
}
_HELP = f"""\
usage: ch-run-oci [OPTION...] COMMAND [OPTION...] [ID [ARG...]]

Run containers by OCI bundles, without privileges.  Commands: {" ".join(COMMANDS)}.

  --root DIR            where the state of containers is
  --storage DIR         the storage directory of images that bundles name
  --force KIND          how root is emulated: none (the default) or seccomp
  --log FILE            append messages to FILE instead of standard error
  --log-format FORMAT   text (the default) or json
  --debug               tell more
  --version             print the version

See ch-run-oci(1).
"""


def main() -> NoReturn:
    """Run ``ch-run-oci`` with this process's arguments, and end it."""
    gc.set_threshold(_ALLOCATIONS)
    status = run_command()
    # All is written.  An orderly end of the interpreter takes a tenth of a short command.
    os._exit(status)


def run_command() -> int:
    """Do what this process's arguments ask for; return the exit status."""
    log = Log()
    open_streams()
    signal(SIGCHLD, SIG_DFL)  # a caller that ignores it would leave no child to wait for
    try:
        arguments = Arguments(sys.argv[1:])
        if arguments.has("help") or (not arguments.command and not arguments.has("version")):
            os.write(1, _HELP.encode())
            return 0 if arguments.has("help") else EXIT_ERROR
        if arguments.has("version"):
            from sundog.image.oci.bundle import OCI_VERSION

            os.write(1, f"ch-run-oci version {__version__}\nspec: {OCI_VERSION}\n".encode())
            return 0
        form = check_format(arguments.value("log-format") or "text")
        log = Log(form, is_debugging=arguments.has("debug"))
        path = arguments.value("log")
        if path:
            log.use_file(path)
        arguments.read_command()
        return call(arguments, log)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        log.error(SundogError("nobody reads standard output"))
    except Exception as error:
        from sundog.base.kernel.advice import explained

        log.error(explained(error))
        if "--debug" in sys.argv and not isinstance(error, (SundogError, OSError)):
            sys.excepthook(type(error), error, error.__traceback__)
    return EXIT_ERROR


def open_streams() -> None:
    """Open those of the standard streams that the caller has closed: no other file gets there."""
    while (fd := os.open("/dev/null", os.O_RDWR)) <= _STDERR:
        continue
    os.close(fd)


def call(arguments: Arguments, log: Log) -> int:
    """Run the command of ``arguments``; return the exit status."""
    from importlib import import_module  # not for the version

    module, name = _FUNCTIONS[arguments.command]
    result = getattr(import_module(f"sundog.front.oci_runtime.{module}"), name)(arguments, log)
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
