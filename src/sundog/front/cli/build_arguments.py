"""The options of ``ch-image build`` and ``modify``."""

from __future__ import annotations

import argparse

from sundog.errors import UsageError
from sundog.front.cli.common_arguments import ImageArguments
from sundog.front.cli.option_rows import flag, foreign, operand, option, repeated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PULL_ALWAYS = "--pull=always"
_DIGITS = 5
PROGRESS_AUTO, PROGRESS_QUIET, PROGRESS_JSON = "auto", "quiet", "rawjson"
PROGRESS_KINDS = (PROGRESS_AUTO, "tty", "plain", PROGRESS_QUIET, PROGRESS_JSON)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _DIGITS):
        raise argparse.ArgumentTypeError(f"not a number of times: {text}")
    return int(text)


class RunArguments(ImageArguments):
    """The options that say how to run commands."""

    bind: Sequence[str] = repeated(
        "-b --bind",
        "SRC[:DST[:ro]]",
        "show SRC of the host at DST while RUN runs (default: the same path)",
    )
    build_arg: Sequence[str] = repeated(
        "--build-arg",
        "ARG[=VAL]",
        "set a build-time variable (default: its value in the environment)",
    )
    cdi_dirs: str | None = option(
        "--cdi-dirs", "DIR[:DIR]", "look for CDI specifications in these directories only"
    )
    device: Sequence[str] = repeated(
        "--device",
        "DEVICE",
        "show RUN a device of CDI, VENDOR/CLASS=NAME, or a device node; see RUN --device, too",
    )
    force: str | None = option(
        "--force",
        "MODE",
        "emulation of root for RUN: seccomp, notify, auto (notify where it is possible), "
        "fakeroot or none; notify,strict: reading and writing obey owners and modes, too; the "
        "default is $CH_IMAGE_FORCE, else seccomp",
        nargs="?",
        const="seccomp",
    )
    no_fallback: bool = flag(
        "--no-fallback", "fail where --force=notify is not possible, instead of using seccomp"
    )
    no_retry: bool = flag(
        "--no-retry",
        "let a RUN that fails under seccomp fail; without --force, one that may have failed for "
        "that is tried again under notify",
    )
    force_cmd: Sequence[str] = repeated(
        "--force-cmd",
        "CMD,ARG1[,ARG2...]",
        "append ARGs to CMD in RUN; replaces the default rules for apt",
    )
    progress: str = option(
        "--progress",
        "KIND",
        "auto (default), tty, plain (draw nothing), quiet (errors only), or rawjson (JSON)",
        choices=PROGRESS_KINDS,
        default=PROGRESS_AUTO,
    )
    dry_run: bool = flag("-n --dry-run", "show what build would do, and do nothing")
    real_sync: bool = flag("--real-sync", "let RUN's fsync(2) and similar calls reach the disk")


class BuildArguments(RunArguments):
    """The command line of ``build``."""

    allow: Sequence[str] = repeated(
        "--allow", "ENTITLEMENT", "accepted, and without effect: RUN can do only what you can do"
    )
    annotation: Sequence[str] = repeated(
        "--annotation", "NAME=VAL", "annotate the manifest that is made when the image leaves"
    )
    build_context: Sequence[str] = repeated(
        "--build-context",
        "NAME=SOURCE",
        "files or an image for the name in FROM and --from: a directory, a tar archive, a URL "
        "of one or of a git repository, docker-image://IMAGE or oci-layout://DIR[:TAG][@DIGEST]",
    )
    cache_from: Sequence[str] = repeated(
        "--cache-from",
        "REPO",
        "take results of instructions from a repository of a registry, too: HOST/NAME, "
        "type=registry,ref=HOST/NAME or type=local,src=DIR",
    )
    cache_to: Sequence[str] = repeated(
        "--cache-to",
        "REPO",
        "write results of instructions to a repository: HOST/NAME, "
        "type=registry,ref=HOST/NAME[,compression=gzip|zstd|uncompressed][,ignore-error=false] "
        "or type=local,dest=DIR",
    )
    cache_ttl: str = option(
        "--cache-ttl",
        "TIME",
        "take nothing from --cache-from that is older, as in 168h",
        default="",
    )
    check_only: bool = flag(
        "--check", "check the Dockerfile for legal but questionable code; build nothing"
    )
    emulation_default: str | None = option(
        "--emulation-default",
        "MODE",
        "emulation of root if --force, $CH_IMAGE_FORCE and build.toml say none (default: "
        "seccomp); the output then says which one is used",
    )
    compression: str | None = option(
        "--compression",
        "NAME",
        "for layers made here that --push copies: gzip (default), zstd, none, zstd:chunked or "
        "estargz",
    )
    _compress = foreign("--compress", "write --push --compression=NAME")
    explain_cache: bool = flag(
        "--explain-cache",
        "say of each stage's first instruction that was not in the cache what differs from the "
        "last build under this name",
    )
    file: str | None = option("-f --file", "DOCKERFILE", "default: CONTEXT/Dockerfile; - for stdin")
    ignorefile: str | None = option(
        "--ignorefile", "FILE", "in place of the context's .dockerignore"
    )
    jobs: str | None = option(
        "--jobs",
        "NUMBER",
        "build so many stages at the same time; 0: all (default: $CH_IMAGE_JOBS, else as many as "
        "there are processors)",
    )
    keep_going: bool = flag(
        "--keep-going", "if a stage fails, go on with those that do not need it"
    )
    label: Sequence[str] = repeated("--label", "NAME[=VAL]", "add a label to the image")
    output: Sequence[str] = repeated(
        "-o --output",
        "DIR",
        "write the result to a directory, or as in type=tar,dest=FILE: types are local, tar, oci, "
        "docker, image, registry; without -t, storage has no copy",
    )
    network: str = option(
        "--network",
        "MODE",
        "of a RUN that names none: none, an empty one; host (default)",
        choices=("default", "host", "none"),
        default="default",
    )
    no_cache_filter: Sequence[str] = repeated(
        "--no-cache-filter", "STAGE", "run the instructions of this stage again; repeatable"
    )
    platform: Sequence[str] = repeated(
        "--platform",
        "OS/ARCH",
        "build for this platform, as in linux/arm64; where this machine can't, qemu-ARCH runs RUN",
    )
    parse_only: bool = flag("--parse-only", "stop after parsing")
    pull: str = option(
        "--pull",
        "POLICY",
        "always (if no POLICY is given): ask registries for newer base images; newer: the same, if "
        "they answer; missing (default): take those in storage; never: pull none",
        nargs="?",
        const="always",
        default="missing",
    )
    push: bool = flag("--push", "copy the result to registries, under the names of -t")
    retry: int | None = option(
        "--retry", "NUMBER", "try so often again if a registry does not answer", type=_count
    )
    iidfile: str = option("--iidfile", "FILE", "write the image's ID to FILE", default="")
    metadata_file: str = option(
        "--metadata-file", "FILE", "describe the result in FILE, as JSON", default=""
    )
    secret: Sequence[str] = repeated(
        "--secret", "id=ID[,src=FILE|,env=NAME]", "pass a secret to RUN --mount=type=secret"
    )
    squash: bool = flag("--squash", "make one layer of those of the build")
    squash_all: bool = flag("--squash-all", "make one layer of all, those of the base included")
    ssh: Sequence[str] = repeated(
        "--ssh",
        "ID[=SOCKET|KEY]",
        "pass an SSH agent to RUN --mount=type=ssh (default: $SSH_AUTH_SOCK)",
    )
    tag: Sequence[str] = repeated(
        "-t --tag", "TAG", "name of the image (default: inferred); repeat for more names"
    )
    timestamp: str | None = option(
        "--timestamp", "SECONDS", "the time of the image, as $SOURCE_DATE_EPOCH"
    )
    target_stage: str = option(
        "--target", "STAGE", "build this stage (default: the last)", default=""
    )
    context: str = operand(
        "CONTEXT",
        "directory to copy from (default: .), tar or git repository at a URL; - for none",
        nargs="?",
        default=".",
    )

    def check(self) -> None:
        """Raise UsageError for words that do not fit together."""
        super().check()
        if self.compression is not None and not self.push:
            raise UsageError(
                "--compression: it is for what --push copies, and there is no --push",
                "add --push; an --output has its own, as in type=registry,compression=zstd",
            )


class ModifyArguments(RunArguments):
    """The command line of ``modify``."""

    command: Sequence[str] = repeated(
        "-c", "CMD", "run CMD; repeat for more commands, one layer each"
    )
    interactive: bool = flag(
        "-i --interactive",
        "run a shell on this terminal; keep the result if it exits with 0",
    )
    shell: str | None = option(
        "-S --shell",
        "SHELL",
        "shell that runs the commands, or with -i (default: the image's SHELL)",
    )
    reference: str = operand("IMAGE", "name of the image")
    target: str | None = operand("NEW", "name of the result (default: IMAGE)", nargs="?")
    script: str | None = operand(
        "SCRIPT", "file with commands (default: standard input)", nargs="?"
    )
