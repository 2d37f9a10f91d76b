"""The environment of ``sundog run``: the image's, and what the user adds; not the host's.

The result are options of ``ch-run``, which obeys them in their order.  Values go by the environment
of ``ch-run``, not by its command line, which all users of the machine can read.

Specification: podman-run(1), "ENVIRONMENT", --env, --env-file, --env-host and --http-proxy.  Lines
of --env-file are those of podman 5: a line ends at a newline, and has no carriage return before it
and no leading blanks; all other characters count.
"""

from __future__ import annotations

from sundog.errors import SundogError, UsageError
from sundog.front.ch_run_line import STEERING, STEERING_STARTS, Passed
from sundog.runtime.container.search_path import ENGINE_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sundog.front.options import Line

_DEFAULT_TERM = "xterm"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
PROXIES = frozenset({*_PROXIES, *map(str.upper, _PROXIES)})
# Variables that describe the host, or belong to ``sundog`` and ``ch-run``: not passed on.
_HOSTS_OWN = frozenset(
    {
        "HOME",
        "PATH",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "TMPDIR",
        "SUNDOG_FALLBACK",
        "SUNDOG_STATUSES",
        "SUNDOG_IDLE",
        "SUNDOG_JOIN",
        "SUNDOG_WAITER",
    }
)
_FILE_LIMIT = 1 << 20
_HINT = "write -e NAME=VALUE, or -e NAME for the host's value"


def passed_environment(
    line: Line,
    host: Mapping[str, str],
    read_file: Callable[[str], str],
    *,
    home: str | None,
    image: bool = True,
    configured: Collection[str] = (),
) -> Passed:
    """Return the environment of a command.

    ``home`` is the home directory; None leaves that to ``ch-run``.  ``image``: the container has
    a file with the image's variables.  ``configured`` is as of ``Passed``.  Raises UsageError, and
    what ``read_file`` raises.
    """
    passed = Passed(host, ["--env-no-expand"], configured)
    if home is None:
        patterns = [name for name in STEERING if name != "HOME"]
        patterns += [*(f"{start}*" for start in STEERING_STARTS), *sorted(configured)]
        passed.options += [f"--unset-env={pattern}" for pattern in patterns]
    else:
        # The compiled ch-run serves this pattern, which leaves what a rank of MPI needs.
        passed.options.append("--unset-env=*")
        passed.show("HOME", home)
    passed.show("PATH", ENGINE_PATH)
    if line.is_set("tty"):
        passed.show("TERM", host.get("TERM") or _DEFAULT_TERM)
    for name in sorted(PROXIES & host.keys()):
        # Only an address with a login in it is a secret.  The compiled ch-run serves --set-env.
        show = passed.hide if "@" in host[name] else passed.show
        show(name, host[name])
    if image:
        passed.options.append("--set-env")
    for name, value in chosen(line, host, read_file).items():
        passed.hide(name, value)
    return passed


def chosen(line: Line, host: Mapping[str, str], read_file: Callable[[str], str]) -> dict[str, str]:
    """Return the variables that the user chose; -e beats --env-file, which beats --env-host."""
    found: dict[str, str] = {}
    if line.is_set("env-host"):
        found |= {name: value for name, value in host.items() if name not in _HOSTS_OWN}
    for path in line.all("env-file"):
        for number, text in enumerate(read_file(path).split("\n"), 1):
            definition = text.removesuffix("\r").lstrip(" \t")
            if definition and not definition.startswith("#"):
                found |= _variables(definition, host, f"{path}:{number}")
    for text in line.all("env"):
        found |= _variables(text, host, "-e")
    return found


def _variables(text: str, host: Mapping[str, str], place: str) -> dict[str, str]:
    """Return the variables that ``NAME=VALUE``, ``NAME`` or ``NAME*`` stands for."""
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise UsageError(f"{place}: not a variable: {text}", _HINT)
    if equals:
        return {name: value}
    if name.endswith("*"):
        start = name[:-1]
        return {name: value for name, value in host.items() if name.startswith(start)}
    return {name: host[name]} if name in host else {}


def read_environment_file(path: str) -> str:
    """Return the text of --env-file ``path``; bytes that are no text stay.  Raises SundogError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise SundogError(f"--env-file {path}: {error.strerror}") from error
    if len(data) > _FILE_LIMIT:
        raise SundogError(f"--env-file {path}: larger than {_FILE_LIMIT} bytes", "is it that file?")
    return data.decode("utf-8-sig", "surrogateescape")
