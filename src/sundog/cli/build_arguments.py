"""The options of ``ch-image build`` and ``modify``: what is built, and how commands are run."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def _run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for how commands are run, which build and modify have."""
    parser.add_argument(
        "-b",
        "--bind",
        metavar="SRC[:DST]",
        action="append",
        default=[],
        help="show SRC of the host at DST while RUN runs (default: the same path)",
    )
    parser.add_argument(
        "--force",
        metavar="MODE",
        nargs="?",
        const="seccomp",
        default="seccomp",
        help="emulation of root for RUN: seccomp (default), notify or none",
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
        help="put ARGs behind CMD in RUN; replaces what is done to apt",
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="tell what would be done, and do nothing"
    )
    parser.add_argument(
        "--real-sync", action="store_true", help="do not suppress RUN's fsync(2) and the like"
    )


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options and the argument of ``build``."""
    _run_options(parser)
    parser.add_argument(
        "--build-context",
        metavar="NAME=SOURCE",
        action="append",
        default=[],
        help="files or an image for the name in FROM and --from: a directory, a tar archive, "
        "docker-image://IMAGE or oci-layout://DIR[:TAG][@DIGEST]",
    )
    parser.add_argument(
        "--build-arg",
        metavar="ARG[=VAL]",
        action="append",
        default=[],
        help="set a build-time variable (default: its value in the environment)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="build nothing: tell what in the Dockerfile is legal and no good idea",
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
        "--metadata-file", metavar="FILE", default="", help="write what was made to FILE, as JSON"
    )
    parser.add_argument(
        "--secret",
        metavar="id=ID[,src=FILE|,env=NAME]",
        action="append",
        default=[],
        help="give RUN --mount=type=secret what it asks for",
    )
    parser.add_argument(
        "--ssh",
        metavar="ID[=SOCKET|KEY]",
        action="append",
        default=[],
        help="give RUN --mount=type=ssh an agent (default: $SSH_AUTH_SOCK)",
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
    parser.add_argument("context", metavar="CONTEXT", help="directory to copy from; - for none")


def add_modify_options(parser: argparse.ArgumentParser) -> None:
    """Add the options and arguments of ``modify``."""
    _run_options(parser)
    parser.add_argument(
        "-c",
        dest="command",
        metavar="CMD",
        action="append",
        default=[],
        help="run CMD; repeat for more, each of which is a layer",
    )
    parser.add_argument(
        "-S", "--shell", metavar="SHELL", help="what runs commands (default: the image's SHELL)"
    )
    parser.add_argument("reference", metavar="IMAGE", help="name of the image")
    parser.add_argument(
        "target", metavar="NEW", nargs="?", help="name of the result (default: IMAGE)"
    )
    parser.add_argument(
        "script", metavar="SCRIPT", nargs="?", help="file with commands (default: standard input)"
    )
