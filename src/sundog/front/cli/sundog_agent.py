"""``sundog agent``: root emulation for the containers of crun, runc and podman."""

from __future__ import annotations

import json
import os

from sundog.base.kernel.numbers import process_abi
from sundog.errors import SundogError, UsageError
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_context import new_report, run_safely
from sundog.front.cli.sundog_scan import scanned
from sundog.front.podman.image_options import AGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

_FOR_PROFILES = ("arch", "owners", "changes")


def agent(words: Sequence[str], context: Context) -> int:  # noqa: ARG001 - as all subcommands
    """Listen for runtimes, or make what a runtime reads; return the exit status."""
    line = scanned("agent", words, AGENT)
    if line is None:
        return 0
    if line.operands:
        raise UsageError(f"sundog agent: unexpected argument: {line.operands[0]}", "see --help")
    bundle = line.last("bundle")
    if line.is_set("profile") and bundle is not None:
        raise UsageError(
            "sundog agent: --profile and --bundle exclude each other", "leave out one of them"
        )
    if line.is_set("once") and (line.is_set("profile") or bundle is not None):
        raise UsageError("sundog agent: --once is for listening", "leave it out")
    if line.is_set("profile"):
        return run_safely(lambda: _print_profile(line))
    if bundle is not None:
        return run_safely(lambda: _edit_bundle(os.fsencode(bundle), line))
    for name in _FOR_PROFILES:
        if line.last(name) is not None:
            raise UsageError(
                f"sundog agent: --{name} is for --profile and --bundle",
                "the profile of a container tells the agent where its records are",
            )
    return run_safely(lambda: _listen(line))


def _listen(line: Line) -> int:
    from sundog.base.kernel.process import set_dumpable
    from sundog.front.agent.agent import Agent  # the help needs none of this
    from sundog.front.agent.entrance import Detacher
    from sundog.front.agent.listening import listening
    from sundog.runtime.emulation.notify.seccomp.trial import obstacle

    reason = obstacle()
    if reason:
        raise SundogError(
            f"no supervisor can work here: {reason}", "see docs/explanation/notify.md, Limits"
        )
    path = _socket(line, make=True)
    report = new_report()
    with Detacher() as detacher:
        proc = detacher.open(b"/proc")
    set_dumpable(False)
    with listening(path) as ours:
        Agent(ours, proc, report).run(once=line.is_set("once"))
    return 0


def _print_profile(line: Line) -> int:
    from sundog.front.agent.metadata import Metadata
    from sundog.front.agent.profile import seccomp_profile

    metadata = Metadata(_path(line, "owners"), _path(line, "changes")).pack()
    profile = seccomp_profile(_abi(line), os.fsdecode(_socket(line)), metadata)
    for text in json.dumps(profile, indent=2).splitlines():
        print_line(text)
    return 0


def _edit_bundle(bundle: bytes, line: Line) -> int:
    from sundog.front.agent.bundle import edit_bundle
    from sundog.front.agent.metadata import Metadata

    metadata = Metadata(_path(line, "owners"), _path(line, "changes"))
    edit_bundle(bundle, _abi(line), os.fsdecode(_socket(line)), metadata)
    return 0


def _socket(line: Line, *, make: bool = False) -> bytes:
    """Return the absolute path of the agent's socket."""
    from sundog.runtime.state.place import AGENT_SOCKET, state_place  # not for the help

    path = line.last("socket")
    if path is None:
        return state_place(os.environb, AGENT_SOCKET, make=make)
    return os.path.abspath(os.fsencode(path))


def _path(line: Line, name: str) -> bytes:
    """Return an option's path, which exists, without symbolic links; b"" without the option."""
    value = line.last(name)
    return b"" if value is None else os.path.realpath(os.fsencode(value), strict=True)


def _abi(line: Line) -> NotifyAbi:
    from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS

    name = line.last("arch") or process_abi()
    if name not in NOTIFY_ABIS:
        raise UsageError(
            f"sundog agent: no profile for the architecture {name}",
            f"there are profiles for: {', '.join(NOTIFY_ABIS)}",
        )
    return NOTIFY_ABIS[name]
