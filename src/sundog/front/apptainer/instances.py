"""The instances of this user on this machine: containers that run in the background.

Each has a record in the place of run-time state (``runtime.state``), which no container sees.  What
is below ~/.apptainer is trusted for nothing: an image can write there.  A record has numbers, names
and paths, and no command.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.kernel.living_process import Process
from sundog.errors import SundogError, UsageError
from sundog.runtime.state.place import INSTANCES, make_private, state_place
from sundog.runtime.state.records import Record, is_name, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME_LIMIT = 60
_NUMBERED = ("--uid=", "--gid=")
_SWITCHES = ("--notify",)
_TEXTS = ("name", "word", "image", "home", "binds", "out", "err")


class Instance:
    """An instance.

    process   the one above its PID 1: it has the namespaces, and passes signals on
    word      IMAGE as ``ch-run`` takes it; ``image`` is what $APPTAINER_CONTAINER says
    identity  the options of ``ch-run`` for the user of its commands
    home      its home directory
    contains  whether it was started with --contain
    binds     what $APPTAINER_BIND says
    out, err  the paths of its logs
    """

    __slots__ = (
        "binds",
        "contains",
        "err",
        "home",
        "identity",
        "image",
        "name",
        "out",
        "process",
        "word",
    )

    def __init__(
        self,
        name: str,
        process: Process,
        *,
        word: str,
        image: str,
        identity: list[str],
        home: str,
        contains: bool,
        binds: str,
        out: str,
        err: str,
    ) -> None:
        self.name = name
        self.process = process
        self.word = word
        self.image = image
        self.identity = identity
        self.home = home
        self.contains = contains
        self.binds = binds
        self.out = out
        self.err = err

    @property
    def tag(self) -> str:
        """The tag of its group for ``ch-run --join``."""
        return f"instance/{self.process.pid}/{self.process.start}"

    def to_json(self) -> dict[str, Any]:
        """Return the record."""
        process = self.process
        return {name: getattr(self, name) for name in self.__slots__} | {
            "process": process.pid,
            "start": process.start,
            "boot": process.boot,
        }


class Instances:
    """The instances whose records are in a directory."""

    __slots__ = ("_directory",)

    def __init__(self, directory: str) -> None:
        """Make the directory if need be.  Raises SundogError if it is not the user's alone."""
        make_private(os.fsencode(directory))
        self._directory = directory

    def claim(self, instance: Instance) -> None:
        """Write the record of an instance that starts.  Raises SundogError if its name has one."""
        self.forget_ended()
        try:
            Record(self._directory, instance.name).claim(instance.to_json())
        except FileExistsError:
            raise taken(instance.name) from None
        except OSError as error:
            raise SundogError(f"can't write to {self._directory}: {error.strerror}") from error

    def list(self) -> list[Instance]:
        """Return the instances that run, by name; records of those that have ended are deleted."""
        self.forget_ended()
        found = map(_read, records(self._directory))
        return [instance for instance in found if instance is not None]

    def get(self, name: str) -> Instance:
        """Return the instance ``name``.  Raises SundogError if none of that name runs."""
        found = _read(Record(self._directory, name)) if is_name(name) else None
        if found is None or not found.process.lives():
            raise SundogError(f"no instance found with name {name}", "apptainer instance list")
        return found

    def make_log(self, name: str, kind: str) -> tuple[int, str]:
        """Make a log beside the record of an instance; return a descriptor and the path."""
        record = Record(self._directory, name)
        return record.make_file(kind), os.path.join(record.path, kind)

    def update(self, instance: Instance) -> None:
        """Write the record of an instance in place of an older one.  Raises OSError."""
        Record(self._directory, instance.name).write(instance.to_json())

    def remove(self, instance: Instance) -> None:
        """Forget an instance that has ended, unless another one has its name by now."""
        record = Record(self._directory, instance.name)
        with suppress(OSError):
            found = _read(record)
            if found is None or found.tag == instance.tag:
                record.remove()

    def forget_ended(self) -> None:
        """Delete the records of instances that have ended, and those that are damaged."""
        for record in records(self._directory):
            found = _read(record)
            if found is None or not found.process.lives():
                with suppress(OSError):
                    record.remove()


def own_instances() -> Instances:
    """Return the instances of this user on this machine.  Raises SundogError."""
    return Instances(os.fsdecode(state_place(os.environb, INSTANCES, make=True)))


def check_name(name: str) -> None:
    """Raise UsageError if no instance can have the name."""
    if not is_name(name) or not name[0].isalnum() or len(name) > _NAME_LIMIT:
        raise UsageError(
            f"not a name for an instance: {name}",
            f"letters, digits, _ + . - and at most {_NAME_LIMIT} of them",
        )


def taken(name: str) -> SundogError:
    """Return the error for a name that another instance has."""
    return SundogError(
        f"instance {name} already exists", f"apptainer instance stop {name}, or another name"
    )


def _read(record: Record) -> Instance | None:
    """Return the instance of a record; None if it is damaged, or not there."""
    try:
        value = record.read()
        pid, start, boot = map(value.pop, ("process", "start", "boot"))
        instance = Instance(process=Process(pid, start, boot), **value)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    is_sound = (
        all(type(number) is int and number > 0 for number in (pid, start))
        and isinstance(boot, str)
        and all(isinstance(getattr(instance, name), str) for name in _TEXTS)
        and type(value["contains"]) is bool
        and _are_texts(instance.identity)
        and all(map(_is_of_user, instance.identity))
        and instance.name == record.name
    )
    return instance if is_sound else None


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_of_user(word: str) -> bool:
    """Tell whether an option of ``ch-run`` is one that ``plan.identity_words`` makes."""
    return word in _SWITCHES or (word.startswith(_NUMBERED) and word[6:].isdigit())
