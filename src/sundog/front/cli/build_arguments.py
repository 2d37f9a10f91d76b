"""The options of ``ch-image build`` and ``modify``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

PROGRESS_QUIET, PROGRESS_JSON = "quiet", "rawjson"
PROGRESS_KINDS = ("auto", "tty", "plain", PROGRESS_QUIET, PROGRESS_JSON)


def _run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to run commands; build and modify share them."""
    parser.add_argument(
        "-b",
        "--bind",
        metavar="SRC[:DST[:ro]]",
        action="append",
        default=[],
        help="show SRC of the host at DST while RUN runs (default: the same path)",
    )
    parser.add_argument(
        "--build-arg",
        metavar="ARG[=VAL]",
        action="append",
        default=[],
        help="set a build-time variable (default: its value in the environment)",
    )
    parser.add_argument(
        "--cdi-dirs",
        metavar="DIR[:DIR]",
        help="look for CDI specifications in these directories only",
    )
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        action="append",
        default=[],
        help="show RUN a device of CDI, VENDOR/CLASS=NAME, or a device node; see RUN --device, too",
    )
    parser.add_argument(
        "--force",
        metavar="MODE",
        nargs="?",
        const="seccomp",
        help="emulation of root for RUN: seccomp, notify, auto (notify where it is possible), "
        "fakeroot or none; notify,strict: reading and writing obey owners and modes, too; the "
        "default is $CH_IMAGE_FORCE, else seccomp",
    )
    parser.add_argument(
        "--no-fallback",
        action="store_true",
        help="fail where --force=notify is not possible, instead of using seccomp",
    )
    parser.add_argument(
        "--force-cmd",
        metavar="CMD,ARG1[,ARG2...]",
        action="append",
        default=[],
        help="append ARGs to CMD in RUN; replaces the default rules for apt",
    )
    parser.add_argument(
        "--progress",
        metavar="KIND",
        choices=PROGRESS_KINDS,
        default="auto",
        help="auto (default), tty, plain (draw nothing), quiet (errors only), or rawjson (JSON)",
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="show what build would do, and do nothing"
    )
    parser.add_argument(
        "--real-sync",
        action="store_true",
        help="let RUN's fsync(2) and similar calls reach the disk",
    )


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options and the argument of ``build``."""
    _run_options(parser)
    parser.add_argument(
        "--allow",
        metavar="ENTITLEMENT",
        action="append",
        default=[],
        help="accepted, and without effect: RUN can do only what you can do",
    )
    parser.add_argument(
        "--build-context",
        metavar="NAME=SOURCE",
        action="append",
        default=[],
        help="files or an image for the name in FROM and --from: a directory, a tar archive, a URL "
        "of one or of a git repository, docker-image://IMAGE or oci-layout://DIR[:TAG][@DIGEST]",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the Dockerfile for legal but questionable code; build nothing",
    )
    parser.add_argument(
        "--emulation-default",
        metavar="MODE",
        help="emulation of root if --force, $CH_IMAGE_FORCE and build.toml say none (default: "
        "seccomp); the output then says which one is used",
    )
    parser.add_argument(
        "-f", "--file", metavar="DOCKERFILE", help="default: CONTEXT/Dockerfile; - for stdin"
    )
    parser.add_argument(
        "--label",
        metavar="NAME[=VAL]",
        action="append",
        default=[],
        help="add a label to the image",
    )
    parser.add_argument("--parse-only", action="store_true", help="stop after parsing")
    parser.add_argument(
        "--iidfile", metavar="FILE", default="", help="write the image's ID to FILE"
    )
    parser.add_argument(
        "--metadata-file", metavar="FILE", default="", help="describe the result in FILE, as JSON"
    )
    parser.add_argument(
        "--secret",
        metavar="id=ID[,src=FILE|,env=NAME]",
        action="append",
        default=[],
        help="pass a secret to RUN --mount=type=secret",
    )
    parser.add_argument(
        "--ssh",
        metavar="ID[=SOCKET|KEY]",
        action="append",
        default=[],
        help="pass an SSH agent to RUN --mount=type=ssh (default: $SSH_AUTH_SOCK)",
    )
    parser.add_argument(
        "-t",
        "--tag",
        metavar="TAG",
        action="append",
        default=[],
        help="name of the image (default: inferred); repeat for more names",
    )
    parser.add_argument(
        "--target",
        dest="target_stage",
        metavar="STAGE",
        default="",
        help="build this stage (default: the last)",
    )
    parser.add_argument(
        "context",
        metavar="CONTEXT",
        nargs="?",
        default=".",
        help="directory to copy from (default: .), tar or git repository at a URL; - for none",
    )


def add_modify_options(parser: argparse.ArgumentParser) -> None:
    """Add the options and arguments of ``modify``."""
    _run_options(parser)
    parser.add_argument(
        "-c",
        dest="command",
        metavar="CMD",
        action="append",
        default=[],
        help="run CMD; repeat for more commands, one layer each",
    )
    parser.add_argument(
        "-i",
        "--interactive",
        action="store_true",
        help="run a shell on this terminal; keep the result if it exits with 0",
    )
    parser.add_argument(
        "-S",
        "--shell",
        metavar="SHELL",
        help="shell that runs the commands, or with -i (default: the image's SHELL)",
    )
    parser.add_argument("reference", metavar="IMAGE", help="name of the image")
    parser.add_argument(
        "target", metavar="NEW", nargs="?", help="name of the result (default: IMAGE)"
    )
    parser.add_argument(
        "script", metavar="SCRIPT", nargs="?", help="file with commands (default: standard input)"
    )
