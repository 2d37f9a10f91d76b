"""The environment of ``sundog run``: the image's, and what the user adds; not the host's.

The result are options of ``ch-run``, which obeys them in their order.  They need --env-no-expand.

Specification: podman-run(1), "ENVIRONMENT", --env, --env-file, --env-host and --http-proxy.
"""

from __future__ import annotations

from sundog.errors import SundogError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sundog.podman.options import Line

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEFAULT_TERM = "xterm"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
PROXIES = frozenset({*_PROXIES, *map(str.upper, _PROXIES)})
# What of the host is about the host itself, or about ``sundog`` and ``ch-run``.
_HOSTS_OWN = frozenset({"HOME", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "SUNDOG_STATUSES"})
_FILE_LIMIT = 1 << 20
_HINT = "write -e NAME=VALUE, or -e NAME for the host's value"


def everything_but(name: str) -> list[str]:
    """Return patterns of fnmatch(3) that together match every word except ``name`` and "".

    The letters of ``name`` must have no meaning in patterns.
    """
    patterns = [f"{name}?*"]
    for end, letter in enumerate(name):
        patterns.append(f"{name[:end]}[!{letter}]*")
        if end:
            patterns.append(name[:end])
    return patterns


def environment_options(
    line: Line,
    host: Mapping[str, str],
    read_file: Callable[[str], str],
    *,
    home: str | None,
    image: bool = True,
) -> list[str]:
    """Return the options of ``ch-run`` that make the environment.

    ``home`` is the home directory; None leaves that to ``ch-run``.  ``image``: the container has
    a file with the image's variables.  Raises UsageError, and what ``read_file`` raises.
    """
    options = ["--env-no-expand"]
    if home is None:
        options += [f"--unset-env={pattern}" for pattern in everything_but("HOME")]
    else:
        options += ["--unset-env=*", _set("HOME", home)]
    first = {"PATH": DEFAULT_PATH}
    if line.is_set("tty"):
        first["TERM"] = host.get("TERM") or _DEFAULT_TERM
    first |= {name: host[name] for name in sorted(PROXIES & host.keys())}
    options += [_set(*variable) for variable in first.items()]
    if image:
        options.append("--set-env")
    return options + [_set(*variable) for variable in chosen(line, host, read_file).items()]


def chosen(line: Line, host: Mapping[str, str], read_file: Callable[[str], str]) -> dict[str, str]:
    """Return the variables that the user chose; -e beats --env-file, which beats --env-host."""
    found: dict[str, str] = {}
    if line.is_set("env-host"):
        found |= {name: value for name, value in host.items() if name not in _HOSTS_OWN}
    for path in line.all("env-file"):
        for number, text in enumerate(read_file(path).splitlines(), 1):
            if text.strip() and not text.lstrip().startswith("#"):
                found |= _variables(text.lstrip(), host, f"{path}:{number}")
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


def _set(name: str, value: str) -> str:
    """Return the option that sets a variable exactly: ch-run removes one pair of quotes."""
    return f"--set-env={name}='{value}'"


def read_environment_file(path: str) -> str:
    """Return the text of --env-file ``path``; bytes that are no text stay.  Raises SundogError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise SundogError(f"--env-file {path}: {error.strerror}") from error
    if len(data) > _FILE_LIMIT:
        raise SundogError(f"--env-file {path}: larger than {_FILE_LIMIT} bytes", "is it that file?")
    return data.decode("utf-8", "surrogateescape")
