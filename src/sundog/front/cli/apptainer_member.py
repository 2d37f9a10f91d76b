"""``sundog apptainer exec``, ``run``, ``shell`` and ``test`` with ``instance://NAME``.

This process enters the namespaces of the instance, and a child of it becomes ``ch-run``, which
joins the group of the instance.
"""

from __future__ import annotations

import os
import signal

from sundog.base.kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    setns,
)
from sundog.base.kernel.process import fork, set_pdeathsig
from sundog.errors import NotInStorage, SundogError
from sundog.front.apptainer.command import NothingToRun
from sundog.front.apptainer.image import INSTANCE, STORED, facts_of_name, facts_of_path
from sundog.front.apptainer.instance_plan import member_plan, unused_options
from sundog.front.apptainer.instances import own_instances
from sundog.front.apptainer.messages import INFO, WARNING
from sundog.front.cli.apptainer_facts import no_app
from sundog.front.cli.apptainer_host import host_of
from sundog.front.cli.apptainer_limit import with_limit
from sundog.front.cli.apptainer_namespaces import JOB_CONTROL, wait_outside
from sundog.front.cli.hidden_values import hide_values
from sundog.front.cli.sundog_start import go_on_as_ch_run, with_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.apptainer.instances import Instance
    from sundog.front.apptainer.messages import Messages
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line

# The user namespace is first: it gives the rights to enter the others.
_KINDS = {
    "user": CLONE_NEWUSER,
    "mnt": CLONE_NEWNS,
    "ipc": CLONE_NEWIPC,
    "net": CLONE_NEWNET,
    "uts": CLONE_NEWUTS,
    "pid_for_children": CLONE_NEWPID,
}


def join(action: str, line: Line, context: Context, messages: Messages) -> int:
    """Become a command in an instance; return an exit status if there is nothing to run.

    Raises SundogError and OSError.
    """
    instance = own_instances().get(line.operands[0].removeprefix(INSTANCE))
    image = _image_of(instance, line.last("app") or "", context)
    try:
        plan = member_plan(action, line, image, host_of(line, dict(os.environ)), instance)
    except NothingToRun as nothing:
        messages.say(INFO, str(nothing))
        return 0
    if plan is None:
        raise AssertionError(f"{action} has a command")
    for text in plan.notes:
        messages.say(INFO, text)
    for text in [*line.warnings, *unused_options(line), *plan.warnings]:
        messages.say(WARNING, text)
    hide_values(line)
    if plan.umask is not None:
        os.umask(plan.umask)
    environment = plan.environment | {
        "SUNDOG_STATUSES": f"apptainer:{messages.level}",
        "SUNDOG_JOIN": "running",
    }
    _enter(instance)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - JOB_CONTROL)
    parent = os.getpid()
    process = fork()
    if process:
        wait_outside(process)
    set_pdeathsig(signal.SIGKILL)
    if os.getppid() not in (parent, 0):  # 0: it is in another PID namespace
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    words = with_limit(plan.arguments, plan.seconds) if plan.seconds else plan.arguments
    return go_on_as_ch_run(with_storage(words, context), environment)


def _image_of(instance: Instance, app: str, context: Context) -> ImageFacts:
    """Return the facts of an instance's image, as it is now.  Raises SundogError."""
    if not instance.image.startswith(STORED):
        return facts_of_path(instance.image, app)
    if app:
        raise no_app(app, instance.word)
    found = facts_of_name(instance.word, context.storage)
    if found is None:
        raise NotInStorage(
            f"the image of the instance {instance.name} has gone from storage: {instance.word}",
            f"ch-image pull {instance.word}, or stop the instance",
        )
    return found


def _enter(instance: Instance) -> None:
    """Enter the namespaces of an instance that are not those of this process.

    Raises SundogError and OSError.
    """
    here = os.getcwd()
    try:
        opened = {
            kind: os.open(f"/proc/{instance.process.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            for kind in _KINDS
        }
    except FileNotFoundError:
        raise _ended(instance) from None
    # The number can have gone to another process before, not since.
    if not instance.process.lives():
        raise _ended(instance)
    # Afterwards, /proc may not know this process.
    own = {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in _KINDS}
    for kind, fd in opened.items():
        if os.fstat(fd).st_ino != own[kind]:
            setns(fd, _KINDS[kind])
        os.close(fd)
    try:
        os.chdir(here)
    except OSError:
        os.chdir("/")


def _ended(instance: Instance) -> SundogError:
    return SundogError(f"the instance {instance.name} has just ended", "apptainer instance list")
