"""The names of the options of Apptainer 1.4.5, as ``apptainer SUBCOMMAND --help`` has them.

A word is NAME, NAME|LETTER, ``=`` if it takes an argument, and ``:`` with the keys X of its
variables $APPTAINER_X, if there is not one key with the option's own name.  Options that the help
hides are among them.  For --cpus, 1.4 reads the variable of --cpu-shares; that is no example.
"""

from __future__ import annotations

from dataclasses import dataclass

_COMMON = """\
add-caps= allow-setuid app=:APP,APPNAME apply-cgroups= authfile=:AUTH_FILE bind|B=:BIND,BINDPATH
blkio-weight-device= blkio-weight= cleanenv|e compat containall|C containlibs= contain|c
cpu-shares= cpus= cpuset-cpus= cpuset-mems= disable-cache dns= docker-host= docker-login
docker-password= docker-username= drop-caps= env-file= env=: fakeroot|f fusemount=:FUSESPEC
home|H= hostname= ignore-fakeroot-command ignore-subuid ignore-userns ipc|i:IPC,UNSHARE_IPC
keep-privs memory-reservation= memory-swap= memory= mount= netns-path= network-args= network=
net|n:NET,UNSHARE_NET no-eval no-home no-https:NOHTTPS,NO_HTTPS no-init:NOSHIMINIT no-mount=
no-nv:NV_OFF,NO_NV no-privs no-rocm:ROCM_OFF,NO_ROCM no-umask nohttps: nv nvccli
oom-kill-disable overlay|o=:OVERLAY,OVERLAYIMAGE passphrase: pem-path=: pids-limit= rocm
scratch|S=:SCRATCH,SCRATCHDIR security= tmpdir= underlay unsquash userns|u:USERNS,UNSHARE_USERNS
uts:UTS,UNSHARE_UTS workdir|W= writable-tmpfs writable|w
"""
_ACTION = """\
cwd=:CWD,TARGET_CWD no-pid pid|p:PID,UNSHARE_PID pwd=:PWD,TARGET_PWD sharens
"""
_INSTANCE = """\
boot dmtcp-launch= dmtcp-restart= pid-file=
"""
UPSTREAM = {
    "exec": _COMMON + _ACTION,
    "run": _COMMON + _ACTION + " runscript-timeout=",
    "shell": _COMMON + _ACTION + " shell|s=",
    "test": _COMMON + _ACTION,
    "build": (
        "arch-variant=:BUILD_ARCH_VARIANT arch=:BUILD_ARCH authfile=:AUTH_FILE bind|B=: "
        "build-arg-file=: build-arg=: disable-cache docker-host= docker-login "
        "docker-password= docker-username= encrypt|e: fakeroot|f fix-perms:FIXPERMS "
        "force|F ignore-fakeroot-command ignore-subuid ignore-userns json library= "
        "mksquashfs-args= mount= no-cleanup no-https:NOHTTPS,NO_HTTPS notest|T nv: nvccli "
        "passphrase: pem-path=: remote: rocm: sandbox|s section= tmpdir= update|u userns "
        "warn-unused-build-args: writable-tmpfs "
    ),
    "pull": (
        "allow-unauthenticated allow-unsigned|U arch-variant=:PULL_ARCH_VARIANT "
        "arch=:PULL_ARCH authfile=:AUTH_FILE dir=:PULLDIR,PULLFOLDER disable-cache "
        "docker-host= docker-login docker-password= docker-username= force|F library= "
        "name=:PULL_NAME no-cleanup no-https:NOHTTPS,NO_HTTPS sandbox tmpdir= "
    ),
    "instance start": _COMMON + _INSTANCE,
    "instance run": _COMMON + _INSTANCE + " runscript-timeout=",
    "instance list": ("all|a json|j logs|l user|u= "),
    "instance stop": ("all|a force|F signal|s= timeout|t=: user|u= "),
    "instance stats": ("json|j: no-stream: user|u= "),
    "inspect": (
        "all: app=: deffile|d: environment|e: helpfile|H: json|j: labels|l: list-apps: "
        "runscript|r: startscript|s: test|t: "
    ),
    "cache list": ("type|T=: verbose|v: "),
    "cache clean": ("days|D=: dry-run|n: force|f: type|T=: "),
    "overlay create": ("create-dir=: fakeroot|f size|s=: sparse|S "),
    "run-help": ("app=: "),
    "": ("build-config: config|c=:CONFIG_FILE debug|d nocolor quiet|q silent|s verbose|v "),
}


@dataclass(frozen=True)
class Name:
    """An option: its names, whether it takes an argument, and the keys of its variables."""

    name: str
    letter: str
    has_argument: bool
    keys: tuple[str, ...]


def names_of(subcommand: str) -> list[Name]:
    """Return the options of a subcommand; ``""`` has those before the subcommand."""
    found = []
    for word in UPSTREAM[subcommand].split():
        text, colon, keys = word.partition(":")
        name, _, letter = text.removesuffix("=").partition("|")
        usual = (name.upper().replace("-", "_"),)
        own = tuple(filter(None, keys.split(",")))
        found.append(Name(name, letter, text.endswith("="), own if colon else usual))
    return found
