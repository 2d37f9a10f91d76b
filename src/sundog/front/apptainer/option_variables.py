"""The variables that stand for options of Apptainer: $APPTAINER_X, else $SINGULARITY_X.

Specification: the help of Apptainer 1.4, and its user guide.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.front.options import Option

PREFIXES = ("APPTAINER_", "SINGULARITY_")
_NONE: tuple[str, ...] = ()
# X is the name of the option, or one of these.
VARIABLES = {
    "app": ("APP", "APPNAME"),
    "authfile": ("AUTH_FILE",),
    "bind": ("BIND", "BINDPATH"),
    "build-config": _NONE,
    "config": ("CONFIG_FILE",),
    "cwd": ("CWD", "TARGET_CWD", "PWD", "TARGET_PWD"),
    "env": _NONE,
    "fusemount": ("FUSESPEC",),
    "help": _NONE,
    "ipc": ("IPC", "UNSHARE_IPC"),
    "net": ("NET", "UNSHARE_NET"),
    "no-env": ("NO_ENV", "NOENV"),
    "no-https": ("NOHTTPS", "NO_HTTPS"),
    "no-init": ("NO_INIT", "NOSHIMINIT"),
    "no-nv": ("NV_OFF", "NO_NV"),
    "no-rocm": ("ROCM_OFF", "NO_ROCM"),
    "overlay": ("OVERLAY", "OVERLAYIMAGE"),
    "passphrase": _NONE,
    "pem-path": _NONE,
    "pid": ("PID", "UNSHARE_PID"),
    "pwd": _NONE,
    "scratch": ("SCRATCH", "SCRATCHDIR"),
    "userns": ("USERNS", "UNSHARE_USERNS"),
    "uts": ("UTS", "UNSHARE_UTS"),
    "version": _NONE,
}
# These are of one subcommand.
OF_COMMAND = {
    "build": {
        "arch": ("BUILD_ARCH",),
        "arch-variant": ("BUILD_ARCH_VARIANT",),
        "fix-perms": ("FIXPERMS",),
        **dict.fromkeys(("bind", "build-arg", "build-arg-file", "encrypt", "nv", "rocm"), _NONE),
        **dict.fromkeys(("intel-hpu", "remote", "warn-unused-build-args"), _NONE),
    },
    "instance stats": dict.fromkeys(("json", "no-stream"), _NONE),
    "instance stop": {"timeout": _NONE},
    "overlay create": dict.fromkeys(("create-dir", "encrypt", "size"), _NONE),
    "pull": {
        "arch": ("PULL_ARCH",),
        "arch-variant": ("PULL_ARCH_VARIANT",),
        "dir": ("PULLDIR", "PULLFOLDER"),
        "name": ("PULL_NAME",),
    },
}


def variable_of(command: str, option: Option, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that gives ``option`` a value, and that value; or two empty texts."""
    usual = (option.name.upper().replace("-", "_"),)
    shared = VARIABLES.get(option.name, usual)
    keys: Sequence[str] = OF_COMMAND.get(command, {}).get(option.name, shared)
    for key in keys:
        for prefix in PREFIXES:
            value = environment.get(prefix + key)
            if value:
                return prefix + key, value
    return "", ""
