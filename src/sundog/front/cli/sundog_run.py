"""``sundog run`` and ``sundog exec``: become ``ch-run`` with the same meaning."""

from __future__ import annotations

import os

from sundog.base.configuration.holding import named_variables, read_configuration
from sundog.errors import NotInStorage, UsageError
from sundog.front.cli.hidden_values import hide_values
from sundog.front.cli.run_defaults import run_defaults
from sundog.front.cli.sundog_context import EXIT_SUNDOG, image_line, new_report
from sundog.front.cli.sundog_scan import scanned, warn
from sundog.front.cli.sundog_start import Run, become_ch_run
from sundog.front.podman.run_line import (
    Caller,
    NamedGroup,
    command_user,
    exec_line,
    image_operand,
    is_id,
    is_path,
    run_line,
    wanted_platform,
)
from sundog.front.podman.run_options import EXEC, RUN
from sundog.front.stored import ImageDefaults, found_facts, image_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line

_LAZY = "lazy"
_PULL = ("missing", "always", "newer", "never", _LAZY)


def run_image(words: Sequence[str], context: Context) -> int:
    """Run a command in a container; return an exit status unless this process becomes it."""
    found = _found("run", words, context)
    if isinstance(found, int):
        return found
    line = found.line
    is_kept = not line.is_set("rm") and found.facts.is_layered
    is_named = line.last("name") is not None or line.last("cidfile") is not None
    if is_kept or is_named or line.is_set("detach"):
        from sundog.front.cli.sundog_named import start  # a start with --rm needs none

        return start(found)
    started = run_line(line, found.facts, found.caller, user=found.user)
    return become_ch_run(started, line, context)


def create(words: Sequence[str], context: Context) -> int:
    """Make a container that ``sundog start`` starts; return the exit status."""
    found = _found("create", words, context)
    if isinstance(found, int):
        return found
    from sundog.front.cli.sundog_named import create as make

    return make(found)


def _found(name: str, words: Sequence[str], context: Context) -> Run | int:
    """Return what the line asks for, its image in storage; or an exit status."""
    line = scanned(name, words, RUN, permute=False)
    if line is None:
        return 0
    defaults = run_defaults(read_configuration(os.environb))
    line.found[:0] = defaults.found
    line.warnings[:0] = defaults.warnings
    if not line.operands:
        raise UsageError(f"{name}: no image", f"sundog {name} IMAGE [COMMAND [ARG…]]")
    if line.last("stop-signal") is not None or line.last("stop-timeout") is not None:
        from sundog.front.podman.stopping import check_stopping

        check_stopping(line)
    hide_values(line)
    warn(line)
    facts, status = _find(line, context)
    if facts is None:
        return status if status < 0 else EXIT_SUNDOG
    caller = own_caller()
    user = command_user(line, facts, caller)
    return Run(line, line.operands[0], facts, caller=caller, user=user, context=context)


def run_in_container(words: Sequence[str], context: Context) -> int:
    """Run a command in a container that runs; return an exit status as ``run``."""
    line = scanned("exec", words, EXEC, permute=False)
    if line is None:
        return 0
    if not line.operands:
        raise UsageError("exec: no container", "sundog exec CONTAINER COMMAND")
    hide_values(line)
    warn(line)
    from sundog.front.cli.sundog_named import running  # ``run`` needs none of it

    container = running(line.operands[0], context.storage)
    group = NamedGroup(container.tag, container.user)
    start = exec_line(
        line,
        container.image,
        container.workdir,
        group=group,
        caller=own_caller(),
    )
    return become_ch_run(start, line, context)


def own_caller() -> Caller:
    """Return who runs this process."""
    return Caller(os.environ, os.geteuid(), os.getegid(), named_variables(os.environb))


def pull_policy(line: Line) -> str:
    """Return when the image of a line is pulled.  Raises UsageError."""
    policy = line.last("pull") or "missing"
    if policy not in _PULL:
        raise UsageError(f"--pull {policy}: no such policy", f"one of: {', '.join(_PULL)}")
    return policy


def _find(line: Line, context: Context) -> tuple[ImageDefaults | None, int]:
    """Return the facts of the image of the line, and 0; or None, and the status of its pull.

    The image is pulled if need be, and its name replaces an ID in the line.
    """
    image = line.operands[0] = image_operand(line.operands[0])
    policy = pull_policy(line)
    if is_path(image):
        if platform := wanted_platform(line):
            raise UsageError(
                f"--platform {platform}: nothing is known of the platform of {image}",
                "leave it out",
            )
        return ImageDefaults(), 0
    facts = _facts(image, line, context)
    if facts is None and is_id(image):
        from sundog.front.cli.sundog_images import names_of_id  # IDs are seldom given

        for name in names_of_id(image, context)[:1]:
            line.operands[0] = name
            return _facts(name, line, context) or _shared_facts(name, line, context), EXIT_SUNDOG
    if facts is None and policy in ("missing", "never", _LAZY):
        facts = _shared_facts(image, line, context)
    if policy == "never" or (policy in ("missing", _LAZY) and facts is not None):
        if facts is None:
            raise NotInStorage(f"no image in storage: {image}", f"sundog pull {image}")
        return facts, 0
    status = _pull(image, line, context)
    if status > 0:  # no signal
        _tell_of_similar(image, context)
    if status:
        return None, status
    return _facts(image, line, context), EXIT_SUNDOG


def _shared_facts(image: str, line: Line, context: Context) -> ImageDefaults | None:
    """Return the facts of an image of a shared store, for the platform of the line.

    An own image hides it, whatever that is for: ``ch-run`` takes the first of a name.
    """
    if platform := wanted_platform(line):
        from sundog.front.cli.sundog_shared import is_shared_for  # few lines name a platform

        if not is_shared_for(image, platform, context):
            return None
    return found_facts(image, context.storage, new_report().warning)


def _tell_of_similar(image: str, context: Context) -> None:
    """Print the name in storage that is most like ``image``, which could not be pulled."""
    from sundog.base.spelling import nearest
    from sundog.image.store.store import Store

    with Store.open(context.storage) as store:
        near = nearest(image, [found.typed for found in store.images.list()])
    if near and near != image:
        new_report().info(f"hint: did you mean {near}? It is in storage")


def _pull(image: str, line: Line, context: Context) -> int:
    """Pull the image; return the exit status."""
    words = ["pull"]
    if line.last("pull") == _LAZY:
        words.append("--lazy")
    if platform := wanted_platform(line):
        words.append(f"--arch={platform.removeprefix('linux/')}")
    if line.last("tls-verify") == "false":
        words.append("--tls-no-verify")
    if line.is_set("quiet"):
        words.append("--quiet")
    return image_line([*words, "--", image], context)


def _facts(image: str, line: Line, context: Context) -> ImageDefaults | None:
    """Return the facts of the image for the platform of the line; None if it is not there."""
    try:
        return image_facts(image, context.storage, wanted_platform(line))
    except NotInStorage:  # it is for other platforms
        if line.last("pull") == "never":
            raise
        return None
