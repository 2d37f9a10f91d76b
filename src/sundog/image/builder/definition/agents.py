"""``Bootstrap``: where a stage starts, for each agent.  Pure, but for a look at paths.

Specification: Apptainer's user guide, version 1.4, “Build Modules”.  A tool of the host that makes
a distribution's tree runs as mock root; its options are those that its manual page has.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sundog.base.quoting import single_quoted
from sundog.image.builder.definition.host_command import PLACE, SCRIPT
from sundog.image.convert.engines import ENGINES
from sundog.image.convert.formats import (
    DOCKER,
    DOCKER_ARCHIVE,
    OCI_ARCHIVE,
    OCI_DIRECTORY,
    Place,
    input_place,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sundog.errors import DockerfileError
    from sundog.image.definition.values import DefinitionStage

    # Makes the error of a message and a hint for a keyword of the header.
    Fault = Callable[[str, str, str], DockerfileError]

_ANY = frozenset({"bootstrap", "stage"})
_SYSTEM = frozenset({"osversion", "mirrorurl", "include"})
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "docker": frozenset({"from", "registry", "namespace", "includecmd"}),
    **dict.fromkeys(
        ("docker-archive", "docker-daemon", "oci", "oci-archive", "localimage", "oras"),
        frozenset({"from"}),
    ),
    "scratch": frozenset(),
    "busybox": frozenset({"mirrorurl"}),
    **dict.fromkeys(
        ("dockerfile", "buildkit"), frozenset({"from", "filename", "target", "buildargs"})
    ),
    "debootstrap": _SYSTEM,
    **dict.fromkeys(("yum", "dnf"), _SYSTEM | {"updateurl", "setopt"}),
    "zypper": _SYSTEM | {"updateurl"},
    "arch": frozenset({"confurl", "include"}),
}
_REFUSED = {
    "library": ("Sundog knows no library", "Bootstrap: docker, or localimage with a SIF"),
    "shub": ("Singularity Hub takes no requests any more", "Bootstrap: docker"),
}
_FORMATS = {
    "docker-archive": ("docker-archive:", DOCKER_ARCHIVE),
    "docker-daemon": ("docker-daemon:", DOCKER),
    "oci": ("oci:", OCI_DIRECTORY),
    "oci-archive": ("oci-archive:", OCI_ARCHIVE),
}
CONFIGURATION = "/bootstrap.conf"
_FAILED_SCRIPTS = 107  # zypper(8): all packages are installed, but scripts of theirs have failed
# What debootstrap(8) calls a machine.
_DEBIAN = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el", "riscv64": "riscv64"}


@dataclass(frozen=True, slots=True)
class Registry:
    """An image of a registry, or of storage, by its ``name``."""

    name: str


@dataclass(frozen=True, slots=True)
class Converted:
    """An image at a place of the host, in a format that ``ch-convert`` reads."""

    place: Place


@dataclass(frozen=True, slots=True)
class RegistryFile:
    """A SIF of a registry, by its ``address``, which begins with oras://."""

    address: str


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """The image of a Dockerfile in a directory."""

    directory: str
    file: str
    target: str
    build_args: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Made:
    """A tree that a tool of the host makes: its command, as for ``HostStep``.

    One of the ``programs`` must be there.  If there is a ``source``, a URL or a path, that file is
    CONFIGURATION in the tree.
    """

    programs: tuple[str, ...]
    argv: tuple[str, ...]
    script: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Busybox:
    """busybox at a URL or a path."""

    source: str


@dataclass(frozen=True, slots=True)
class Empty:
    """No file."""


Start = Registry | Converted | RegistryFile | Dockerfile | Made | Busybox | Empty


def start_of(stage: DefinitionStage, machine: str, fault: Fault) -> tuple[Start, list[str]]:
    """Return where a stage starts, and keywords that have no effect; raise ``fault``.

    ``machine`` is uname(2)'s word for the hardware.
    """
    agent = stage.header("bootstrap").lower()
    if agent in _REFUSED:
        why, hint = _REFUSED[agent]
        raise fault(f"Bootstrap: {agent}: {why}", hint, "bootstrap")
    known = _KEYWORDS.get(agent)
    if known is None:
        raise fault(
            f"Bootstrap: no such agent: {agent}", f"one of: {' '.join(_KEYWORDS)}", "bootstrap"
        )
    if stage.header("fingerprints"):
        raise fault("Fingerprints: signatures are not checked", "leave it out", "fingerprints")
    unused = sorted(stage.headers.keys() - _ANY - known)

    def needed(keyword: str) -> str:
        value = stage.header(keyword)
        if not value:
            raise fault(f"Bootstrap: {agent} needs {keyword}", "", "bootstrap")
        return value

    return _start(agent, stage, machine, needed, fault), unused


def _start(
    agent: str,
    stage: DefinitionStage,
    machine: str,
    needed: Callable[[str], str],
    fault: Fault,
) -> Start:
    if agent == "docker":
        registry = stage.header("registry").partition("://")[2] or stage.header("registry")
        parts = (registry.strip("/"), stage.header("namespace").strip("/"), needed("from"))
        return Registry("/".join(filter(None, parts)).removeprefix("docker://"))
    if agent in _FORMATS:
        prefix, form = _FORMATS[agent]
        if form in ENGINES and not ENGINES[form].is_here:
            raise fault(
                f"Bootstrap: {agent}: the host has no {form}",
                f"`{form} save -o FILE NAME` where it is, and Bootstrap: docker-archive",
                "bootstrap",
            )
        return Converted(input_place(prefix + needed("from"), form))
    if agent == "localimage":
        path = needed("from")
        if not os.path.exists(path):
            raise fault(f"no such file: {path}", "paths are relative to where you are", "from")
        return Converted(input_place(os.path.abspath(path), None))
    if agent == "oras":
        return RegistryFile(f"oras://{needed('from').removeprefix('oras://')}")
    if agent == "scratch":
        return Empty()
    if agent == "busybox":
        return Busybox(needed("mirrorurl"))
    if agent in ("dockerfile", "buildkit"):
        pairs = [text.partition("=") for text in stage.header("buildargs").split()]
        return Dockerfile(
            needed("from"),
            stage.header("filename"),
            stage.header("target"),
            {name: value for name, _, value in pairs},
        )
    return _made(agent, stage, machine, needed)


def _made(agent: str, stage: DefinitionStage, machine: str, needed: Callable[[str], str]) -> Made:
    version, include = stage.header("osversion"), stage.header("include").split()
    if agent == "debootstrap":
        words = ["--variant=minbase"]
        if machine in _DEBIAN:
            words.append(f"--arch={_DEBIAN[machine]}")
        if include:
            words.append(f"--include={','.join(include)}")
        return Made((agent,), (agent, *words, needed("osversion"), PLACE, needed("mirrorurl")))
    if agent == "arch":
        return _arch(stage.header("confurl"), include)
    mirrors = {"base": needed("mirrorurl"), "updates": stage.header("updateurl")}
    urls = {name: url.replace("%{OSVERSION}", version) for name, url in mirrors.items() if url}
    if agent == "zypper":
        lines = ["set -e"]
        tool = 'zypper --root "$1" --non-interactive'
        for name, url in urls.items():
            lines.append(f"{tool} addrepo {single_quoted(url)} {name}")
        lines.append(
            f"{tool} --gpg-auto-import-keys --releasever={single_quoted(version)} install"
            f" --auto-agree-with-licenses --download-in-advance {_quoted('aaa_base', *include)}"
            f" || test $? = {_FAILED_SCRIPTS}"
        )
        return Made(("zypper",), ("/bin/sh", SCRIPT, PLACE), _script(lines))
    return _dnf(stage, urls, version, include)


def _dnf(stage: DefinitionStage, urls: Mapping[str, str], version: str, include: list[str]) -> Made:
    """Return the script for dnf(8), or yum(8): a configuration of its own, and an installation."""
    lines = [
        "set -e",
        "command -v dnf >/dev/null && tool=dnf || tool=yum",
        'mkdir -p "$1/etc"',
        'config="$1/etc/bootstrap-$tool.conf"',
        "cat > \"$config\" <<'EOF'",  # $basearch is for the tool
        "[main]",
        "gpgcheck=0",
        "plugins=0",
        "reposdir=/dev/null",
        *stage.header("setopt").split(),
    ]
    for name, url in urls.items():
        lines += [f"[{name}]", f"name={name}", f"baseurl={url}", "enabled=1"]
    packages = _quoted("/etc/redhat-release", "coreutils", *include)
    release = f"--releasever={single_quoted(version)} " if version else ""
    lines += [
        "EOF",
        f'"$tool" --noplugins -c "$config" --installroot "$1" {release}-y install {packages}',
        'rm -rf "$config" "$1/var/cache/$tool"',
    ]
    return Made(("dnf", "yum"), ("/bin/sh", SCRIPT, PLACE), _script(lines))


def _arch(source: str, include: list[str]) -> Made:
    """Return the script for pacman(8).

    pacstrap(8) does the same, but mounts a new /proc, which a user namespace may not.
    """
    lines = [
        "set -e",
        'cd "$1"',
        "mkdir -p dev proc sys run etc var/lib/pacman var/log",
        'for name in dev proc sys; do mount --rbind "/$name" "$name"; done',
        'set -- --root "$1" --cachedir "$1/var/cache/bootstrap" --noconfirm',
    ]
    if source:
        lines.append(f'set -- "$@" --config "$PWD{CONFIGURATION}"')
    lines += [
        f'pacman "$@" -Sy {_quoted(*(include or ("base",)))}',
        f"rm -rf var/cache/bootstrap .{CONFIGURATION}",
    ]
    return Made(("pacman",), ("/bin/sh", SCRIPT, PLACE), _script(lines), source)


def _quoted(*words: str) -> str:
    return " ".join(map(single_quoted, words))


def _script(lines: list[str]) -> str:
    """Return a script whose first word is the directory of the tree."""
    return "\n".join(lines) + "\n"
