"""RUN: run a command in the image, as root or as an emulated root."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from sundog.base.kernel.files import STDIN_FILENO, STDOUT_FILENO
from sundog.base.kernel.libc import printable
from sundog.base.kernel.process import Umask
from sundog.base.kernel.refusal import file_system_of
from sundog.errors import BuildError, CommandFailed, KernelError
from sundog.image.builder.files.chown import account_file
from sundog.image.builder.keys import ARGUMENT, OTHER, Part, step_key
from sundog.image.builder.run.refusals import likely_refusals, seen_refusals
from sundog.image.builder.tree_step import decoded, encoded
from sundog.image.builder.user import identify
from sundog.image.layer.inherit import StepOwners
from sundog.image.layer.known_records import KnownRecords
from sundog.runtime.container.execute import SCRIPT_SHELL
from sundog.runtime.container.fast_path import SWITCH, wanted_library
from sundog.runtime.container.search_path import ENGINE_PATH
from sundog.runtime.process.pseudoterminal import Pseudoterminal
from sundog.runtime.process.relay import Tail
from sundog.runtime.steps.command import Step
from sundog.runtime.steps.step import in_root, run_step, run_supervised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.image.builder.force import Force
    from sundog.image.builder.keys import StepKey
    from sundog.image.builder.options import RunOptions
    from sundog.image.builder.report import Report
    from sundog.image.builder.run.fakeroot import Fakeroot
    from sundog.image.builder.run.mounts import PreparedMounts, RunMounts
    from sundog.image.store.drivers import Snapshot
    from sundog.image.store.store import Store
    from sundog.runtime.container.binfmt import Emulator
    from sundog.runtime.container.root import Root

_UMASK = 0o022
_NOT_FOUND = 127  # the exit status of a shell that finds no such command: sh(1p)
_TAIL = 1 << 14  # bytes of the output of a command that fails
_SCRIPTS, _SCRIPT = 8, 1 << 15  # scripts of an image that are read, and bytes of each
_FULL = 1 << 20  # bytes; with less free space, a file system counts as full


@dataclass(frozen=True, slots=True)
class RunStep:
    """RUN: ``argv`` has the hooks' arguments.

    ``environment`` has all variables that may change the result, and ``unkeyed`` the others.
    ``user`` is the user that the command sees itself as; "" is root.  ``wanted_user`` is that of
    USER.  ``fakeroot`` may change the command when it runs.  ``what`` is its name in messages.
    ``machine`` is the one whose programs the image has, if it is another one than this.
    """

    options: RunOptions
    store: Store
    report: Report
    text: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    unkeyed: Mapping[str, str]
    working_dir: str
    mounts: RunMounts
    offline: bool = False
    user: str = ""
    wanted_user: str = ""
    fakeroot: Fakeroot | None = None
    machine: str = ""
    what: str = "RUN command"
    is_discarded: bool = False

    @property
    def is_bare(self) -> bool:
        """Return False."""
        return False

    @property
    def is_independent(self) -> bool:
        """Return False."""
        return False

    def key(self, layers: Sequence[str]) -> StepKey:
        """Return the key: the command, everything that it sees, and the emulation.

        Raises BuildError if the source of a mount does not exist.
        """
        return step_key(
            "run",
            layers,
            self.argv,
            Part(ARGUMENT, "", dict(self.environment)),
            Part(OTHER, "the working directory", self.working_dir),
            Part(OTHER, "the emulation of root", self.options.force.key),
            Part(OTHER, "the network", self.offline),
            self.mounts.key(),
            Part(OTHER, "the user", self.user),
        )

    def execute(self, snapshot: Snapshot) -> None:
        """Run the command; raise CommandFailed if it fails, BuildError if it can't be run."""
        if self.options.captured >= 0:
            os.ftruncate(self.options.captured, 0)
        # A build must not depend on the user's umask.
        with Umask(_UMASK), self.mounts.prepared() as prepared, ExitStack() as stack:
            terminal, tail = None, Tail(_TAIL)
            if self.options.interactive:
                terminal = stack.enter_context(Pseudoterminal(STDIN_FILENO, STDOUT_FILENO))
            status, refusals = self._run(snapshot, prepared, terminal, tail)
        if status and self.options.interactive:
            raise BuildError(
                f"the shell {outcome(status)}, so its changes are not kept",
                "leave the shell by: exit 0",
            )
        if status:
            sign = ""
            if self.options.retry and not refusals:  # these explain it
                sign = self._sign(snapshot.root, status, tail.data)
            message = f"build failed: {self.what} {outcome(status)}"
            raise CommandFailed(message, self._hint(status, refusals), status=status, sign=sign)

    def _run(
        self,
        snapshot: Snapshot,
        prepared: PreparedMounts,
        terminal: Pseudoterminal | None,
        tail: Tail,
    ) -> tuple[int, Sequence[str]]:
        """Run the command; return its status, and what the kernel is known to have refused."""
        environment = {**self.unkeyed, **self.environment, **prepared.environment}
        if terminal is not None:
            environment.setdefault("TERM", os.environ.get("TERM", "dumb"))
        who = identify(self.user, snapshot.root) if self.user else None
        if who is not None:
            environment.setdefault("HOME", os.fsdecode(who.home))
        force = self.options.force
        make = partial(
            Step,
            env={encoded(name): encoded(value) for name, value in environment.items()},
            options=self.options,
            offline=self.offline,
            emulator=_emulator(self.machine),
        )
        argv, root = self.argv, snapshot.root
        if self.fakeroot is not None:

            def initialize(command: str) -> int:
                shell = [SCRIPT_SHELL, b"-c", encoded(command)]
                return run_step(make(snapshot.reopened(), shell, cwd=b"/"))

            scripts = [script.text for script in self.mounts.scripts]
            argv = self.fakeroot.command(argv, scripts, root, initialize)
            root = snapshot.reopened()
        step = make(
            root,
            [encoded(word) for word in argv],
            cwd=encoded(self.working_dir),
            seccomp=force.seccomp,
            fake_sync=snapshot.fake_sync,
            mounts=prepared.operations,
            library=_library(force),
            identity=who,
            terminal=terminal,
            tail=tail,
        )
        if force.notify:
            return self._supervise(step, snapshot, prepared)
        forgets = force.seccomp or force.fakeroot
        snapshot.owners = StepOwners(guessed=forgets, unrecorded=True)
        return run_step(step), ()

    def _supervise(
        self, step: Step, snapshot: Snapshot, prepared: PreparedMounts
    ) -> tuple[int, Sequence[str]]:
        """Run ``step`` under a supervisor, and keep its records for the layer."""
        status, supervised = run_supervised(
            step, snapshot.emulation(prepared.mounted, strict=self.options.force.strict)
        )
        snapshot.owners = StepOwners(KnownRecords.of(supervised.owners), is_complete=True)
        prepared.keep_owners(supervised.mounted)
        for line in (*supervised.statistics, *supervised.incidents):
            self.report.verbose(line)
        for line in supervised.hints:
            self.report.info(f"hint: {line}")
        if supervised.failures:
            count = supervised.failures
            self.report.warning(f"root emulation failed to answer {count} calls: see them with -v")
        return status, supervised.refusals

    def _sign(self, root: Root, status: int, output: bytes) -> str:
        """Return the sign that root emulation is to blame for the failure, "" if there is none."""
        # Few commands fail.
        from sundog.image.builder.run.signs import (
            NOT_EXECUTED,
            named_files,
            script_sign,
            sign_of,
        )

        if likely_refusals(self._scripts()):
            output = b""  # which may be about what only real root may do
        scripts = [script.text for script in self.mounts.scripts]
        sign = sign_of(self.argv, scripts, self.wanted_user, status, output)
        if sign or status < 0 or status in NOT_EXECUTED:
            return sign
        search_path = self.environment.get("PATH", ENGINE_PATH)
        paths = [encoded(path) for path in named_files(self.argv, self.working_dir, search_path)]

        def read(roots: list[int]) -> list[bytes]:
            found = []
            for path in paths:
                with suppress(KernelError):
                    found.append(account_file(roots[0], path, _SCRIPT))
            return [text for text in found if text.startswith(b"#!")][:_SCRIPTS]

        # A script that the RUN itself made is not among them.
        return script_sign(map(decoded, in_root([root.unchanged()], read)))

    def _hint(self, status: int, refusals: Sequence[str]) -> str:
        """Return a possible cause of the failure that the command's output may not show."""
        place, force = self.store.path, self.options.force
        space = os.statvfs(place)
        if space.f_bavail * space.f_frsize < _FULL or (space.f_files and not space.f_favail):
            return f"no space left on {file_system_of(place)}: storage directory {printable(place)}"
        if force.notify:
            return seen_refusals(refusals)
        if status != _NOT_FOUND and (hint := likely_refusals(self._scripts())):
            return hint
        if force.mode == "none":
            return "it ran without root emulation; --force=seccomp, the default, has it"
        return "" if self.fakeroot is None else self.fakeroot.hint()

    def _scripts(self) -> list[str]:
        """Return the texts of the command in which a shell would look for commands."""
        argv = self.argv
        text = argv[argv.index("-c") + 1 :][:1] if "-c" in argv else [" ".join(argv)]
        return [*text, *(script.text for script in self.mounts.scripts)]


def _emulator(machine: str) -> Emulator | None:
    """Return the emulator for ``machine``, if there is one and it needs one.  Few images do."""
    if not machine:
        return None
    from sundog.image.builder.run.emulators import emulator_for

    return emulator_for(machine)


def _library(force: Force) -> bytes:
    """Return the path of the fast path's library, b"" for none.

    A RUN mostly makes many calls.  Mounting the library takes a millisecond.
    """
    if not force.notify:
        return b""
    return wanted_library(os.environb.get(SWITCH), strict=force.strict, by_default=True)


def outcome(status: int) -> str:
    """Describe how a command ended; ``status`` is from os.waitstatus_to_exitcode."""
    if status >= 0:
        return f"exited with {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"
