"""A step's command and its world: values."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from sundog.base.kernel.files import STDERR_FILENO, STDOUT_FILENO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.base.record.identity import Identity
    from sundog.runtime.container.binfmt import Emulator
    from sundog.runtime.container.operations import DetachedMount
    from sundog.runtime.container.root import Root
    from sundog.runtime.process.pseudoterminal import Pseudoterminal
    from sundog.runtime.process.relay import OutputSink, Tail


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """The options that all steps of one piece of work have in common.

    binds           triples: a host path, a path in the container, whether the command can write
                    there; missing paths are made for the time of the step
    own_places      directories that the mounts do not show
    own             the host paths in ``binds`` that lie in these all the same
    stdout, stderr  the descriptors that get the output; the command does not get them
    output          takes the output in place of the descriptors
    """

    binds: Sequence[tuple[bytes, bytes, bool]] = ()
    own: frozenset[bytes] = frozenset()
    own_places: tuple[bytes, ...] = ()
    stdout: int = STDOUT_FILENO
    stderr: int = STDERR_FILENO
    output: OutputSink | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A command and its world: ``root`` is writable, ``env`` complete, ``cwd`` made if missing.

    ``mounts`` come after the binds of the ``options``, in the order of ``arranged``.  ``offline``
    gives the command an empty network of its own.  ``fake_sync`` answers fsync(2) and its family
    "done" (only with ``seccomp`` or under a supervisor).  Under a supervisor, the command sees
    itself as ``identity``; None is root; and ``library`` is the path of that of the fast path, b""
    for none.  The ``emulator`` runs programs of another machine; None: there are none, or they run
    without.  With a ``terminal``, the command has that for its streams; else a ``tail`` keeps the
    end of its output.  As in the background of a script, the command inherits that SIGINT is
    ignored.
    """

    root: Root
    argv: list[bytes]
    env: Mapping[bytes, bytes]
    cwd: bytes
    options: StepOptions = field(default_factory=StepOptions)
    seccomp: bool = False
    fake_sync: bool = False
    mounts: Sequence[DetachedMount] = ()
    offline: bool = False
    library: bytes = b""
    emulator: Emulator | None = None
    identity: Identity | None = None
    terminal: Pseudoterminal | None = None
    tail: Tail | None = None
    ignores_interrupt: bool = field(
        init=False, default_factory=lambda: signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    )
