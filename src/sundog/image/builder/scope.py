"""The variables that an instruction sees: ARG, ENV and predefined ones.

Specification: the Dockerfile reference, ARG, “Scope”, “Using ARG variables”, “Predefined ARGs”,
“Automatic platform ARGs in the global scope”.  An ENV always overrides an ARG of the same name.

Pure: the caller passes the process's environment and platform.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

from sundog.image.oci.timestamps import EPOCH_VARIABLE
from sundog.runtime.container.search_path import ENGINE_PATH
from sundog.runtime.container.variables import CH_RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sundog.image.oci.platform import Platform


# RUN's environment has these without a declaration; neither the image nor a key has them.
PROXY_ARGS = frozenset(
    spelling
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for spelling in (name, name.lower())
)

# RUN also has these of the host, as in Charliecloud.
HOST_VARIABLES = ("SSH_AUTH_SOCK", "USER")

_TOTAL_LIMIT = 64 << 20  # characters
TOO_LARGE = f"all instructions together have more than {_TOTAL_LIMIT >> 20} MiB after substitution"

# “BuildKit built-in build args”: they are for the builder; no ARG has to declare them.
_FOR_THE_BUILDER = frozenset(
    [
        "BUILDKIT_BUILD_NAME",
        "BUILDKIT_CACHE_MOUNT_NS",
        "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
        "BUILDKIT_INLINE_CACHE",
        "BUILDKIT_MULTI_PLATFORM",
        "BUILDKIT_SANDBOX_HOSTNAME",
        "BUILDKIT_SYNTAX",
        EPOCH_VARIABLE,
    ]
)


def platform_args(platform: Platform, target: Platform | None = None) -> dict[str, str]:
    """Return the automatic ARGs of a build on ``platform`` for ``target`` (by default the same)."""
    args: dict[str, str] = {}
    for side, one in (("TARGET", target or platform), ("BUILD", platform)):
        args |= {
            f"{side}PLATFORM": str(one),
            f"{side}OS": one.os,
            f"{side}ARCH": one.architecture,
            f"{side}VARIANT": one.variant,
        }
    return args


@dataclass
class GlobalScope:
    """The ARGs before the first FROM, and the values of ``--build-arg``.

    ``values`` is what FROM sees.  A stage sees one of them only after it declares it.  ``declared``
    has the names that any ARG of the file declares, for ``unused``.  ``size`` counts the characters
    of all instructions after substitution.
    """

    given: Mapping[str, str]
    automatic: Mapping[str, str]
    environment: Mapping[str, str]
    values: dict[str, str] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    size: int = 0

    def __post_init__(self) -> None:
        for name, value in self.automatic.items():
            self.values[name] = self.given.get(name, value)

    def branch(self) -> GlobalScope:
        """Return the scope for one stage, whose counts ``absorb`` adds."""
        branch = copy(self)
        branch.declared = set(self.declared)
        branch.size = 0
        return branch

    def absorb(self, declared: Iterable[str], size: int) -> None:
        """Add what a stage has declared, and the characters of its instructions."""
        self.declared.update(declared)
        self.size += size

    def declare(self, name: str, default: str | None) -> str | None:
        """Declare an ARG before the first FROM; return its value, None if it has none."""
        value = self.given.get(name, default)
        if value is not None:
            self.values[name] = value
        return value

    def has_room(self, text: str) -> bool:
        """Count an instruction's text; tell whether the total is within the limit."""
        self.size += len(text)
        return self.size <= _TOTAL_LIMIT

    def of_host(self) -> dict[str, str]:
        """Return the variables that RUN gets from outside; neither the image nor a key has them.

        The values of proxies may also come from ``--build-arg``.
        """
        variables = {"CH_RUNNING": CH_RUNNING.decode()}
        for name in sorted(PROXY_ARGS):
            if (value := self.given.get(name, self.environment.get(name))) is not None:
                variables[name] = value
        for name in HOST_VARIABLES:
            if name in self.environment:
                variables[name] = self.environment[name]
        return variables

    def unused(self) -> list[str]:
        """Return the names in ``--build-arg`` that no ARG declares."""
        predefined = PROXY_ARGS | self.automatic.keys() | _FOR_THE_BUILDER
        return sorted(self.given.keys() - self.declared - predefined)


@dataclass
class StageScope:
    """The ARGs of a stage, in order of declaration; at first those of its base stage."""

    outer: GlobalScope
    args: dict[str, str] = field(default_factory=dict)

    def declare(self, name: str, default: str | None) -> str | None:
        """Declare an ARG; return its value, None if it has none."""
        self.outer.declared.add(name)  # the file does not have the ARG of an ONBUILD trigger
        if name in self.outer.given:
            value: str | None = self.outer.given[name]
        elif default is not None:
            value = default
        else:
            value = self.outer.values.get(name)
        if value is not None:
            self.args[name] = value
        return value

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that substitution sees; ``environment`` is the image's."""
        return {"PATH": ENGINE_PATH, **self.args, **environment}
