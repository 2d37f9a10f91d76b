"""A step that runs a command of the host, as mock root, with the image's tree at a directory.

For %setup and %pre, and for tools that make a distribution's tree.  The command sees the host's
files, except for Sundog's own places, and may change those that its user may change.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sundog.base.kernel.process import Umask
from sundog.errors import BuildError, CommandFailed
from sundog.image.builder.keys import step_key
from sundog.image.builder.run.step import outcome
from sundog.image.builder.tree_step import PlainStep, encoded
from sundog.image.layer.inherit import StepOwners
from sundog.image.layer.known_records import KnownRecords
from sundog.runtime.container.operations import CREATED, FileMount
from sundog.runtime.container.root import DirectoryRoot
from sundog.runtime.process.relay import Tail
from sundog.runtime.steps.command import Step
from sundog.runtime.steps.mounts import TreeMount
from sundog.runtime.steps.step import run_step, run_supervised
from sundog.runtime.supervision.emulation import Emulation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sundog.image.builder.keys import StepKey
    from sundog.image.builder.options import RunOptions
    from sundog.image.builder.report import Report
    from sundog.image.store.drivers import Snapshot
    from sundog.image.store.store import Store

_PREFIXES = ("APPTAINER", "SINGULARITY")
_OWN_PREFIXES = ("APPTAINER_", "SINGULARITY_")
_UMASK = 0o022
_TAIL = 1 << 14  # bytes of the output of a command that fails
PLACE = "{place}"  # in a command: the directory that shows the tree
SCRIPT = "{script}"  # in a command: the path of its script


@dataclass(frozen=True, slots=True)
class HostStep(PlainStep):
    """A command of the host: ``argv`` with PLACE and SCRIPT in it, and the text of its script.

    ``paths`` are those of the image's files that the variables *_ENVIRONMENT and *_LABELS name.
    ``is_discarded`` says that the tree is of no use afterwards.
    """

    text: str
    argv: tuple[str, ...]
    script: str
    environment: Mapping[str, str]
    paths: Mapping[str, str]
    options: RunOptions
    store: Store
    report: Report
    is_discarded: bool = False

    def key(self, layers: Sequence[str]) -> StepKey:
        """Return the key: the command and its script."""
        force = self.options.force.key
        return step_key("host", layers, self.argv, self.script, force)

    def execute(self, snapshot: Snapshot) -> None:
        """Run the command; raise CommandFailed if it fails."""
        if self.options.captured >= 0:
            os.ftruncate(self.options.captured, 0)
        with Umask(_UMASK), _place() as place:
            tail = Tail(_TAIL)
            status = self._run(snapshot, place, tail)
        if status:
            what = self.text.partition(" ")[0]
            raise CommandFailed(f"build failed: {what} {outcome(status)}", status=status)

    def _run(self, snapshot: Snapshot, place: str, tail: Tail) -> int:
        directory, force = os.path.join(place, "rootfs"), self.options.force
        script = os.path.join(place, "script")
        words = [word.replace(PLACE, directory).replace(SCRIPT, script) for word in self.argv]
        mounts = [TreeMount(snapshot.root, b"", encoded(directory), writable=True)]
        step = Step(
            DirectoryRoot(b"/"),
            [encoded(word) for word in words],
            self._variables(directory),
            os.fsencode(os.getcwd()),
            replace(self.options, binds=(), own=frozenset()),
            seccomp=force.seccomp,
            mounts=[
                *mounts,
                FileMount(encoded(self.script), encoded(script), CREATED, mode=0o755),
            ],
            tail=tail,
        )
        if not force.notify:
            status = run_step(step)
            snapshot.owners = StepOwners(guessed=force.seccomp, unrecorded=True)
            return status
        mounted = [snapshot.mounted_at(encoded(directory))]
        status, supervised = run_supervised(step, Emulation(mounted=mounted))
        snapshot.owners = StepOwners(KnownRecords.of(supervised.mounted[0]), is_complete=True)
        for line in (*supervised.statistics, *supervised.incidents):
            self.report.verbose(line)
        return status

    def _variables(self, directory: str) -> dict[bytes, bytes]:
        """Return the host's variables, and those that name the tree."""
        variables = {
            name: value
            for name, value in self.environment.items()
            if not name.startswith(_OWN_PREFIXES)
        }
        for prefix in _PREFIXES:
            variables[f"{prefix}_ROOTFS"] = directory
            for name, path in self.paths.items():
                variables[f"{prefix}_{name}"] = f"{directory}{path}"
        return {encoded(name): encoded(value) for name, value in variables.items()}


@contextmanager
def _place() -> Iterator[str]:
    """Make a directory of the host, with mount points in it."""
    try:
        place = tempfile.mkdtemp(prefix="sundog-")
    except OSError as error:
        raise BuildError(
            f"can't make a directory: {error.strerror}", "set $TMPDIR to a directory of yours"
        ) from error
    try:
        os.mkdir(os.path.join(place, "rootfs"))
        with open(os.path.join(place, "script"), "xb"):
            pass
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
