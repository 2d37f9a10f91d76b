"""``sundog --help``, and the help of each subcommand, from the tables of ``podman/``."""

from __future__ import annotations

import sys
import textwrap

from sundog.errors import UsageError
from sundog.front.apptainer.action_options import GLOBAL, TABLES
from sundog.front.apptainer.build import BUILD
from sundog.front.apptainer.cache_options import TABLES as CACHE
from sundog.front.apptainer.inspect import INSPECT as APPTAINER_INSPECT
from sundog.front.apptainer.inspect import RUN_HELP
from sundog.front.apptainer.instance_options import INSTANCE_TABLES as INSTANCE
from sundog.front.apptainer.overlay_options import CREATE
from sundog.front.apptainer.pull import PULL
from sundog.front.apptainer.sif import SIF_SUBCOMMANDS
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_context import ON_STDERR, new_report, run_safely
from sundog.front.options import HELD, REFUSED, TAKEN, WARNED
from sundog.front.podman.container_options import (
    COMMIT,
    CONTAINER_PRUNE,
    CP,
    DIFF,
    EXISTS,
    KILL,
    LOGS,
    PS,
    RESTART,
    RM,
    START,
    STOP,
    TOP,
    WAIT,
)
from sundog.front.podman.image_lines import SUBCOMMANDS
from sundog.front.podman.image_options import (
    AGENT,
    BAKE,
    BUILDER_PRUNE,
    CONFIG,
    DOCTOR,
    IMAGE_INSPECT,
    IMAGE_PRUNE,
    IMAGES,
    INSPECT,
    PLAIN,
    SYSTEM_PRUNE,
)
from sundog.front.podman.jupyter_options import KERNEL_INSTALL
from sundog.front.podman.mock_root_options import ROOT
from sundog.front.podman.run_options import EXEC, RUN
from sundog.front.podman.site_options import INSTALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Option

_WIDTH = 78
_COLUMN = 34

# Name: (operands, summary, the line it stands for, options), for what is no line of ch-image.
_OWN: dict[str, tuple[str, str, str, Sequence[Option]]] = {
    "run": (
        "IMAGE [COMMAND [ARG…]]", "run a command in a new container",
        "ch-run --notify -W -t -c WORKDIR --set-env IMAGE -- ENTRYPOINT COMMAND", RUN,
    ),
    "exec": ("CONTAINER COMMAND [ARG…]", "run a command in a container that runs",
             "ch-run --join-tag TAG IMAGE -- COMMAND", EXEC),
    "create": ("IMAGE [COMMAND [ARG…]]", "make a container that does not start yet", "(nothing)",
               RUN),
    "start": ("CONTAINER…", "start containers again, with their changes",
              "ch-run --container ID IMAGE -- COMMAND", START),
    "restart": ("CONTAINER…", "stop containers, and start them again", "sundog stop, sundog start",
                RESTART),
    "ps": ("", "list the containers that run", "ps -u $USER", PS),
    "stop": ("CONTAINER…", "end containers with the signal of their image", "kill PID", STOP),
    "kill": ("CONTAINER…", "send containers a signal", "kill -s SIGNAL PID", KILL),
    "wait": ("CONTAINER…", "wait for the end of containers", "(nothing)", WAIT),
    "rm": ("CONTAINER…", "remove containers that have ended", "(nothing)", RM),
    "logs": ("CONTAINER", "print the output of a container of run --detach", "(nothing)", LOGS),
    "top": ("CONTAINER [COLUMN…]", "list the processes of a container", "ps -u $USER", TOP),
    "cp": ("SRC DST", "copy files between the host and a container", "(nothing)", CP),
    "diff": ("CONTAINER", "print what a container has changed", "(nothing)", DIFF),
    "commit": ("CONTAINER IMAGE", "make an image of a container", "(nothing)", COMMIT),
    "container inspect": ("CONTAINER…", "print what is known of containers", "(nothing)",
                          IMAGE_INSPECT),
    "container exists": ("CONTAINER", "tell by the exit status whether there is a container",
                         "(nothing)", EXISTS),
    "container prune": ("", "remove the containers that do not run", "(nothing)",
                        CONTAINER_PRUNE),
    "images": ("[NAME]", "list the images in storage", "ch-image list -l", IMAGES),
    "inspect": ("NAME…", "print what is known of containers and images", "ch-image inspect NAME…",
                INSPECT),
    "image inspect": ("IMAGE…", "print what is known of images", "ch-image inspect IMAGE…",
                      IMAGE_INSPECT),
    "bake": ("[TARGET…]", "build the targets of a bake file, or of a compose file",
             "sundog build … for each target", BAKE),
    "image exists": ("IMAGE", "tell by the exit status whether an image is in storage",
                     "ch-image list IMAGE", PLAIN),
    "image prune": ("", "delete what no image needs, or images without a container",
                    "ch-image build-cache --gc", IMAGE_PRUNE),
    "system prune": ("", "container prune and image prune", "ch-image build-cache --gc",
                     SYSTEM_PRUNE),
    "builder prune": ("", "delete what no image needs", "ch-image build-cache --gc",
                      BUILDER_PRUNE),
    "root": ("[COMMAND [ARG…]]", "run a command as mock root",
             "sundog-fakeroot -i FILE -s FILE -- COMMAND", ROOT),
    "kernel install": ("IMAGE [-- OPTION…]", "show Jupyter a kernel of an image",
                       "sundog apptainer exec OPTION IMAGE KERNEL", KERNEL_INSTALL),
    "install": ("", "install this version for all users of a site", "(nothing)", INSTALL),
    "uninstall": ("", "remove what install has made", "(nothing)", INSTALL),
    "info": ("", "print facts about this installation", "ch-image gestalt storage-path", PLAIN),
    "version": ("", "print the version", "ch-image --version", PLAIN),
    "doctor": ("", "try what Sundog needs here, and print what repairs it",
               "ch-checkns --all", DOCTOR),
    "config": ("", "print what the configuration says, and where", "(nothing)", CONFIG),
    "apptainer": ("SUBCOMMAND [ARG…]", "run a line of Apptainer: exec, run, shell, test",
                  "ch-run IMAGE -- COMMAND", GLOBAL),
    "apptainer exec": ("IMAGE COMMAND [ARG…]", "run a command in a container",
                       "ch-run IMAGE -- COMMAND", TABLES["exec"]),
    "apptainer run": ("IMAGE [ARG…]", "run the runscript of an image, or its ENTRYPOINT and CMD",
                      "ch-run IMAGE", TABLES["run"]),
    "apptainer shell": ("IMAGE [ARG…]", "run a shell in a container", "ch-run IMAGE -- sh",
                        TABLES["shell"]),
    "apptainer test": ("IMAGE [ARG…]", "run the test script of an image",
                       "ch-run IMAGE -- /.singularity.d/test", TABLES["test"]),
    "apptainer build": ("TARGET SOURCE", "make a SIF, or a directory, of an image",
                        "ch-convert SOURCE TARGET.sif", BUILD),
    "apptainer inspect": ("IMAGE", "print what an image says about itself",
                          "ch-image inspect NAME", APPTAINER_INSPECT),
    "apptainer run-help": ("IMAGE", "print the help of an image", "(nothing)", RUN_HELP),
    "apptainer sif": ("SUBCOMMAND FILE", "show a SIF: " + ", ".join(SIF_SUBCOMMANDS),
                      "(nothing)", ()),
    **{f"apptainer sif {name}": (*texts, "(nothing)", ())
       for name, texts in SIF_SUBCOMMANDS.items()},
    "apptainer pull": ("[TARGET] SOURCE", "make a SIF of an image of a registry",
                       "ch-image pull NAME, ch-convert NAME TARGET.sif", PULL),
    "apptainer instance start": ("IMAGE NAME [ARG…]", "start an instance, with its startscript",
                                 "ch-run --join-tag TAG IMAGE", INSTANCE["instance start"]),
    "apptainer instance run": ("IMAGE NAME [ARG…]", "start an instance, with the runscript",
                               "ch-run --join-tag TAG IMAGE", INSTANCE["instance run"]),
    "apptainer instance list": ("[PATTERN]", "list the instances that run", "ps -u $USER",
                                INSTANCE["instance list"]),
    "apptainer instance stop": ("PATTERN", "stop instances", "kill PID",
                                INSTANCE["instance stop"]),
    "apptainer instance stats": ("[NAME]", "print what instances use", "ps -u $USER",
                                 INSTANCE["instance stats"]),
    "apptainer overlay create": ("DIR", "make a directory for --overlay", "mkdir DIR", CREATE),
    "apptainer cache list": ("", "print how much is in storage", "ch-image build-cache",
                             CACHE["cache list"]),
    "apptainer cache clean": ("", "delete what only builds need", "ch-image build-cache --reset",
                              CACHE["cache clean"]),
    "apptainer links": ("DIR", "write the entries apptainer and singularity to a directory",
                        "(nothing)", ()),
    "agent": ("", "emulate root in containers of crun, runc and podman",
              "(a supervisor for each container)", AGENT),
}  # fmt: skip

_GROUPS = (
    (HELD, "Accepted; what they ask for is so in any case:"),
    (WARNED, "Accepted with a warning, without effect:"),
    (REFUSED, "Not possible:"),
)


def help(words: Sequence[str], context: Context) -> int:  # noqa: A001, ARG001 - its own name
    """Print the help, or that of a subcommand; return the exit status."""
    if list(words) == [ON_STDERR]:
        new_report()  # opens standard error if it is closed
        sys.stderr.write("".join(f"{line}\n" for line in _overview()))
        return 1
    return print_help(" ".join(words))


def print_help(name: str) -> int:
    """Print the help of a subcommand, or of all, and return the exit status.  Raises UsageError."""
    lines = list(subcommand_help(name) if name else _overview())

    def action() -> int:
        for line in lines:
            print_line(line)
        return 0

    return run_safely(action)


def names() -> list[str]:
    """Return the names of all subcommands, in the order of the help."""
    return [*list(_OWN)[:2], *SUBCOMMANDS, *list(_OWN)[2:]]


def described(name: str) -> tuple[str, str, str, Sequence[Option]]:
    """Return operands, summary, the line it stands for and the options of a subcommand."""
    if name in _OWN:
        return _OWN[name]
    if name not in SUBCOMMANDS:
        raise UsageError(f"no help for: {name}", "sundog --help")
    found = SUBCOMMANDS[name]
    return found.operands, found.summary, found.stands_for, found.options


def subcommand_help(name: str) -> Iterator[str]:
    """Yield the lines of the help of a subcommand."""
    operands, summary, stands_for, options = described(name)
    yield f"Usage: sundog {name} [OPTION…] {operands}".rstrip()
    yield f"{summary[0].upper()}{summary[1:]}."
    yield f"It stands for: {stands_for}"
    yield ""
    for option in options:
        if option.treatment == TAKEN:
            yield from _entry(option)
    for treatment, title in _GROUPS:
        group = [option for option in options if option.treatment == treatment]
        if group:
            yield from ("", title)
            for option in group:
                yield from _entry(option)


def _entry(option: Option) -> Iterator[str]:
    *long, short = (*option.names, "") if option.names[-1].startswith("--") else option.names
    shown = f"{short + ',' if short else '':4}{', '.join(long)} {option.argument}".rstrip()
    text = option.text if option.treatment != REFUSED else f"{option.text}: {option.hint}"
    lines = textwrap.wrap(text, _WIDTH - _COLUMN) or [""]
    if len(shown) > _COLUMN - 4:
        yield f"  {shown}"
        shown = ""
    for line in lines:
        yield f"  {shown:{_COLUMN - 2}}{line}"
        shown = ""


def _overview() -> Iterator[str]:
    yield "Usage: sundog [--storage DIR] SUBCOMMAND [OPTION…] [ARG…]"
    yield "Containers with the words of podman and docker, as an ordinary user."
    yield ""
    width = max(map(len, names())) + 2
    for name in names():
        _, summary, stands_for, _ = described(name)
        yield f"  {name:{width}}{summary}"
        yield f"  {'':{width}}  = {stands_for}"
    yield ""
    yield "sundog SUBCOMMAND --help lists the options, also those that have no effect here."
    yield "Exit status of run, exec and root: the command's; 125 if sundog fails, 126 if the"
    yield "command cannot be executed, 127 if it is not found."
