"""``sundog apptainer instance``: ``start``, ``run``, ``list``, ``stop`` and ``stats``."""

from __future__ import annotations

import os
import socket
from pwd import getpwuid

from sundog.base.kernel.files import STDERR_FILENO, leave_descriptors
from sundog.base.kernel.living_process import Process
from sundog.base.kernel.process import fork
from sundog.errors import SundogError, UsageError
from sundog.front.apptainer.instance_logs import KINDS, make_logs
from sundog.front.apptainer.instance_options import INSTANCE_TABLES
from sundog.front.apptainer.instance_plan import instance_plan, member_plan
from sundog.front.apptainer.instances import Instance, Instances, check_name, own_instances
from sundog.front.apptainer.line import scan_line
from sundog.front.apptainer.messages import FATAL, INFO, WARNING, Messages
from sundog.front.ch_run_line import ChRunLine
from sundog.front.cli.apptainer_facts import EXIT_FAILED, image_of
from sundog.front.cli.apptainer_host import host_of
from sundog.front.cli.apptainer_init import READY, Starts, be_instance
from sundog.front.cli.apptainer_instances import list_them, stats, stop
from sundog.front.cli.apptainer_namespaces import enter_own
from sundog.front.cli.hidden_values import hide_values
from sundog.front.cli.sundog_help import print_help
from sundog.front.cli.sundog_start import with_storage
from sundog.front.options import unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.apptainer.plan import Plan
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line


def instance(words: Sequence[str], context: Context, messages: Messages) -> int:
    """Run a line of ``instance``; return the exit status.  Raises SundogError and OSError."""
    if not words or words[0] in ("--help", "-h", "help"):
        for name in INSTANCE_TABLES:
            print_help(f"apptainer {name}")
        return 0 if words else 1
    name, *rest = words
    action = {"ls": "list"}.get(name, name)
    if action in ("start", "run"):
        return _start(action, rest, context, messages)
    if action not in _QUERIES:
        raise unknown(name, ["start", "run", *_QUERIES], "apptainer instance")
    table = f"instance {action}"
    line = scan_line(table, rest, INSTANCE_TABLES[table], os.environ)
    if line.is_set("help"):
        return print_help(f"apptainer {table}")
    if line.last("user") not in (None, user_name(), str(os.geteuid())):
        raise SundogError(
            f"--user {line.last('user')}: other users' instances are not seen", "leave it out"
        )
    return _QUERIES[action](line, messages)


def _start(action: str, words: list[str], context: Context, messages: Messages) -> int:
    """Start an instance, and return when it runs."""
    table = f"instance {action}"
    line = scan_line(table, words, INSTANCE_TABLES[table], os.environ, permute=False)
    if line.is_set("help"):
        return print_help(f"apptainer {table}")
    if len(line.operands) < 2:
        raise UsageError(f"{table}: IMAGE and NAME are needed", f"apptainer {table} IMAGE NAME")
    name = line.operands.pop(1)
    check_name(name)
    image = image_of(line, context, messages)
    if isinstance(image, int):
        return image
    hide_values(line)
    starter = _Starter(action, line, name, image, context=context, messages=messages)
    reader, writer = os.pipe()
    process = fork()
    if process == 0:
        os.close(reader)
        os._exit(starter.be_instance(writer))
    os.close(writer)
    with open(reader, "rb") as pipe:
        is_ready = pipe.read() == READY
    if not is_ready:  # the other processes have said why
        os.waitpid(process, 0)
        own_instances().forget_ended()
        return EXIT_FAILED
    messages.say(INFO, "instance started successfully")
    if line.last("pid-file"):
        _write_pid(line.last("pid-file") or "", process)
    return 0


class _Starter:
    """The start of an instance by a process that becomes that of its record."""

    __slots__ = ("_action", "_context", "_host", "_image", "_line", "_messages", "_name", "_plan")

    def __init__(
        self,
        action: str,
        line: Line,
        name: str,
        image: ImageFacts,
        *,
        context: Context,
        messages: Messages,
    ) -> None:
        """Plan the container.  Raises UsageError and SundogError."""
        self._action = action
        self._line = line
        self._name = name
        self._image = image
        self._context = context
        self._messages = messages
        self._host = host_of(line, dict(os.environ))
        self._plan = instance_plan(line, image, self._host)

    def be_instance(self, told: int) -> int:
        """Be the instance; return an exit status if it can't start, after the reason is printed."""
        try:
            os.setsid()
            leave_descriptors((STDERR_FILENO, told))
            self._go(told)
        except (SundogError, OSError) as error:
            from sundog.base.kernel.advice import explained  # a start seldom fails

            shown = explained(error)
            self._messages.say(FATAL, shown.message)
            if shown.hint:
                self._messages.say(INFO, f"hint: {shown.hint}")
        return EXIT_FAILED

    def _go(self, told: int) -> NoReturn:
        """Take the name, make the logs, enter the namespaces, and start the processes."""
        instances = own_instances()
        own = self._instance("", "")
        instances.claim(own)  # the logs of another instance of this name stay
        logs = self._make_logs(instances)
        own = self._instance(*(path for _, path in logs))
        instances.update(own)
        plan = self._plan.container
        command = member_plan(self._action, self._line, self._image, self._host, own)
        for text in [] if command is None else command.notes:
            self._messages.say(INFO, text)
        for text in [*plan.warnings, *([] if command is None else command.warnings)]:
            self._messages.say(WARNING, text)
        for path in plan.directories:
            os.makedirs(path, mode=0o700, exist_ok=True)
        if plan.umask is not None:
            os.umask(plan.umask)
        entered, refusals = enter_own(plan.namespaces, plan.hostname)
        for text in refusals:
            self._messages.say(WARNING, text)
        out, err = (fd for fd, _ in logs)
        first = self._started(plan, [f"--join-tag={own.tag}"])
        started = None if command is None else self._started(command, [])
        seconds = 0 if command is None else command.seconds
        starts = Starts(first, started, (out, err), seconds=seconds)
        be_instance(starts, told, own_pids="pid" in entered)

    def _instance(self, out: str, err: str) -> Instance:
        plan = self._plan
        return Instance(
            self._name,
            Process.of(os.getpid()),
            word=self._image.word,
            image=self._image.container,
            identity=plan.identity,
            home=plan.home,
            contains=plan.contains,
            binds=plan.binds,
            out=out,
            err=err,
        )

    def _make_logs(self, instances: Instances) -> list[tuple[int, str]]:
        """Make the logs at Apptainer's place, else beside the record."""
        try:
            return make_logs(self._host.home, socket.gethostname(), user_name(), self._name)
        except SundogError as error:
            self._messages.say(
                WARNING, f"{error.message}: instance list --logs says where they are"
            )
            return [instances.make_log(self._name, kind) for kind in KINDS]

    def _started(self, plan: Plan, options: list[str]) -> ChRunLine:
        words = with_storage([*options, *plan.arguments], self._context)
        level = self._messages.level
        return ChRunLine(words, plan.environment | {"SUNDOG_STATUSES": f"apptainer:{level}"})


def _write_pid(path: str, process: int) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{process}\n")
    except OSError as error:
        raise SundogError(f"--pid-file {path}: {error.strerror}") from error


def user_name() -> str:
    """Return the name of this user, or the number without one."""
    try:
        return getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


_QUERIES: dict[str, Callable[[Line, Messages], int]] = {
    "list": list_them,
    "stop": stop,
    "stats": stats,
}
