"""``--secret`` and ``--ssh``: RUN may use them, and nothing may keep them.

Specification: the reference of ``docker buildx build``.  They are never part of a cache key, of an
image or of the output.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from dataclasses import dataclass

from sundog.base.kernel.process import set_pdeathsig
from sundog.errors import SundogError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from typing import Self

_DEFAULT_AGENT = "default"
_AGENT_VARIABLE = "SSH_AUTH_SOCK"


@dataclass(frozen=True, slots=True)
class Secret:
    """A given secret: its ``id`` and its ``value``, which repr does not show."""

    id: str
    value: bytes

    def __repr__(self) -> str:
        return f"Secret({self.id!r})"

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str]) -> Secret:
        """Parse ``id=ID[,src=FILE|,env=NAME][,type=file|env]``; raise UsageError.

        Without a source, the secret is the variable ID if that exists, else the file ID.
        """
        fields = _fields(text)
        source, variable = fields["src"], fields["env"]
        if not fields["id"]:
            raise UsageError(f"--secret: {text}: no id", "write --secret id=ID,src=FILE")
        if fields["type"] not in ("", "file", "env"):
            raise UsageError(f"--secret: no such type: {fields['type']}", "one of: file, env")
        if fields["type"] == "env" and not variable:
            source, variable = "", source or fields["id"]
        if not source and not variable:
            is_variable = fields["type"] != "file" and fields["id"] in environment
            source, variable = ("", fields["id"]) if is_variable else (fields["id"], "")
        if variable and not source:
            if variable not in environment:
                raise UsageError(f"--secret: not in environment: {variable}")
            return cls(fields["id"], os.fsencode(environment[variable]))
        try:
            with open(source, "rb") as file:
                return cls(fields["id"], file.read())
        except OSError as error:
            raise UsageError(f"--secret: can't read {source}: {error.strerror}") from error


def _fields(text: str) -> dict[str, str]:
    fields = dict.fromkeys(("id", "src", "env", "type"), "")
    for item in text.split(","):
        key, equals, value = item.partition("=")
        key = {"source": "src"}.get(key.lower(), key.lower())
        if key not in fields or not equals:
            raise UsageError(
                f"--secret: {text}: not a field: {item}", "write --secret id=ID,src=FILE|env=NAME"
            )
        fields[key] = value
    return fields


@dataclass(frozen=True, slots=True)
class SshSource:
    """A given agent: the ``socket`` of a running one, or ``keys`` for a new one."""

    id: str
    socket: str
    keys: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str]) -> SshSource:
        """Parse ``ID[=SOCKET|KEY[,KEY…]]``; raise UsageError."""
        name, equals, value = text.partition("=")
        paths = tuple(value.split(",")) if equals and value else ()
        if not name:
            raise UsageError(f"--ssh: {text}: no id", "write --ssh default, or --ssh ID=SOCKET")
        if not paths:
            socket = environment.get(_AGENT_VARIABLE, "")
            if not socket:
                raise UsageError(
                    f"--ssh: no agent: ${_AGENT_VARIABLE} is not set",
                    f"start ssh-agent, or write --ssh {name}=KEY",
                )
            paths = (socket,)
        for path in paths:
            if not os.path.exists(path):
                raise UsageError(f"--ssh: no such file: {path}")
        if len(paths) == 1 and not os.path.isfile(paths[0]):
            return cls(name, os.path.abspath(paths[0]))
        return cls(name, "", paths)


class SshAgents:
    """The agents of a build; one for keys starts when a step wants it, and ends with the build."""

    def __init__(self, *sources: SshSource) -> None:
        self._sources = {source.id: source for source in sources}
        self._sockets: dict[str, str] = {}
        self._ending = ExitStack()

    def socket(self, name: str) -> str | None:
        """Return the path of an agent's socket, None if it was not given; raise SundogError."""
        source = self._sources.get(name or _DEFAULT_AGENT)
        if source is None:
            return None
        if source.socket:
            return source.socket
        if source.id not in self._sockets:
            self._sockets[source.id] = self._start(source.keys)
        return self._sockets[source.id]

    def _start(self, keys: tuple[str, ...]) -> str:
        import subprocess
        import tempfile

        # A socket's path is at most 108 bytes long, so it is not in the storage directory.
        directory = self._ending.enter_context(tempfile.TemporaryDirectory(prefix="sundog-ssh-"))
        socket = os.path.join(directory, "agent")
        environment = {**os.environ, _AGENT_VARIABLE: socket, "SSH_ASKPASS_REQUIRE": "never"}
        try:
            agent = subprocess.Popen(
                ["ssh-agent", "-D", "-a", socket],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                preexec_fn=lambda: set_pdeathsig(signal.SIGKILL),  # noqa: PLW1509 - no threads
            )
            self._ending.callback(_end, agent)
            assert agent.stdout is not None
            agent.stdout.readline()  # its first line names its socket, once that exists
            added = subprocess.run(
                ["ssh-add", "-q", *keys],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise SundogError(
                f"--ssh: can't run {error.filename}: {error.strerror}",
                "keys need the programs of OpenSSH; or give the socket of a running agent",
            ) from error
        if added.returncode:
            reason = (added.stderr.splitlines() or ["ssh-add failed"])[-1]
            raise SundogError(
                f"--ssh: can't add {' '.join(keys)}: {reason}",
                "put a key with a passphrase into an agent of your own",
            )
        return socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()


def _end(agent: subprocess.Popen[bytes]) -> None:
    agent.terminate()
    agent.communicate()
