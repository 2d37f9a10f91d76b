"""Run a command in an image, with the meaning of ``sundog run``."""

from __future__ import annotations

import os
import signal
import subprocess
import warnings

from sundog.base.configuration.holding import named_variables
from sundog.base.installation import own_command
from sundog.errors import NotInStorage, UsageError
from sundog.front.api.images import pull as pull_image
from sundog.front.options import scan
from sundog.front.podman.run_line import Caller, command_user, is_path, run_line
from sundog.front.podman.run_options import RUN
from sundog.front.podman.statuses import PODMAN_STATUSES
from sundog.front.stored import ImageDefaults, found_facts, image_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from sundog.front.api.progress import Progress

    Path = str | PathLike[str]
    File = int | None


def run(
    image: str,
    command: Sequence[str] = (),
    *,
    volumes: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    workdir: str | None = None,
    user: str | None = None,
    as_caller: bool = False,
    entrypoint: str | None = None,
    read_only: bool = False,
    force: str = "notify",
    pull: str = "missing",
    stdin: File = subprocess.DEVNULL,
    stdout: File = None,
    stderr: File = None,
    input: bytes | None = None,  # noqa: A002 - as in subprocess
    capture_output: bool = False,
    check: bool = False,
    timeout: float | None = None,
    storage: Path | None = None,
    progress: Progress | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a new container; return its exit status and, if captured, its output.

    image      a name in storage, or the path of a directory or a SquashFS file
    command    the words after ENTRYPOINT, in place of CMD
    volumes    ``SRC:DST[:ro]``
    env        variables in addition to the image's, by their names; the host's are not passed on
    user       a user of the image, by name or number; ``as_caller`` runs as the caller instead
    force      the emulation of root: "notify", "seccomp" or "none"
    pull       "missing", "always" or "never"

    stdin, stdout, stderr, input, capture_output, check and timeout are those of subprocess.run.
    The status is 125 if the container can't be made, 126 if the command can't be executed, 127 if
    it does not exist.  Raises NotInStorage, RegistryError, UsageError, and what subprocess.run
    raises.
    """
    for name in env or {}:
        if not name or "=" in name:
            raise UsageError(f"env: not the name of a variable: {name!r}", "write {NAME: VALUE}")
    words = [f"--volume={volume}" for volume in volumes]
    words += [f"--env={name}={value}" for name, value in (env or {}).items()]
    for name, value in (("workdir", workdir), ("user", user), ("entrypoint", entrypoint)):
        if value is not None:
            words.append(f"--{name}={value}")
    words += [f"--force={force}", f"--read-only={str(read_only).lower()}"]
    if as_caller:
        words.append("--userns=keep-id")
    line = scan([*words, "--", image, *command], RUN, command="run", permute=False)
    facts = _facts(image, pull, storage, progress)
    caller = Caller(os.environ, os.geteuid(), os.getegid(), named_variables(os.environb))
    chosen = command_user(line, facts, caller)
    start = run_line(line, facts, caller, user=chosen)
    place = [] if storage is None else [f"--storage={os.path.abspath(storage)}"]
    streams: dict[str, int | bytes | None] = {"stdin": stdin} if input is None else {"input": input}
    if not capture_output:
        streams |= {"stdout": stdout, "stderr": stderr}
    argv = [*own_command("ch-run"), *place, *start.arguments]
    variables = start.environment | PODMAN_STATUSES
    if any("\0" in text for text in (*argv, *variables.values())):
        raise UsageError("a NUL byte in the command or in a variable", "no program can get it")
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        raise UsageError(
            "this program ignores SIGCHLD, so it would not learn the command's status",
            "signal.signal(signal.SIGCHLD, signal.SIG_DFL)",
        )
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        argv,
        env=variables,
        capture_output=capture_output,
        check=check,
        timeout=timeout,
        **streams,
    )


def _facts(image: str, pull: str, storage: Path | None, progress: Progress | None) -> ImageDefaults:
    """Return what storage says of the image, after a pull if that is wanted."""
    if pull not in ("missing", "always", "never"):
        raise UsageError(f"pull={pull}: no such policy", "one of: missing, always, never")
    if is_path(image):
        return ImageDefaults()
    place = None if storage is None else os.fspath(storage)
    facts = found_facts(image, place, warnings.warn)
    if pull == "always" or (pull == "missing" and facts is None):
        pull_image(image, storage=storage, progress=progress)
        facts = image_facts(image, place)
    if facts is None:
        raise NotInStorage(f"no image in storage: {image}", "pull it, or build it")
    return facts
