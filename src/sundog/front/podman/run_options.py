"""The options of ``sundog run`` and ``sundog exec``.

Specification: podman-run(1), docker-run(1).
"""

from __future__ import annotations

from sundog.front.options import (
    HELD,
    REFUSED,
    TAKEN,
    WARNED,
    Option,
    one_of,
)
from sundog.front.podman.security import harmless_security

_OWN_NETWORK = "the container has the host's network"
_JOB = "the batch system decides that"
_RIGHTS = "the container has your own rights"


def _is_same_port(value: str) -> bool:
    """Tell whether a port stays as it is: ``8080:8080``, ``127.0.0.1:80:80/tcp``."""
    *address, outside, inside = f":{value.rpartition(']')[2]}".split(":")
    is_port = outside.isascii() and outside.replace("-", "").isdigit()  # or a range
    return len(address) <= 2 and is_port and outside == inside.partition("/")[0]


# The options that run and exec share.
_COMMAND = (
    Option("--interactive -i", "", TAKEN, "keep standard input open"),
    Option("--tty -t", "", TAKEN, "pass $TERM on; the command has your terminal in any case"),
    Option("--env -e", "NAME[=VALUE]", TAKEN, "set a variable; without a value: the host's"),
    Option("--env-file", "FILE", TAKEN, "set the variables in FILE, one NAME[=VALUE] a line"),
    Option("--user -u", "USER[:GROUP]", TAKEN, "run as this user of the image, by name or number"),
    Option("--workdir -w", "DIR", TAKEN, "start in the container's directory DIR"),
    Option("--privileged", "", WARNED, _RIGHTS),
    Option("--detach-keys", "KEYS", HELD, "nothing to detach from"),
)

EXEC = (*_COMMAND, Option("--help -h", "", TAKEN, "print this help and exit"))

RUN = (
    *_COMMAND,
    Option("--help", "", TAKEN, "print this help and exit"),  # -h is --hostname
    Option("--volume -v", "SRC:DST[:ro]", TAKEN, "show the host's SRC at DST"),
    Option("--mount", "type=bind,src=SRC,dst=DST[,ro]", TAKEN, "the same, spelled out"),
    Option("--device", "DEVICE", TAKEN, "a device of CDI, VENDOR/CLASS=NAME, or a device node"),
    Option("--gpus", "all|NUMBER|device=LIST", TAKEN, "GPUs of NVIDIA, by their CDI specification"),
    Option("--tmpfs", "DIR[:OPTIONS]", TAKEN, "an empty DIR (size=64m, mode=1777, noexec)"),
    Option("--no-site-binds", "", TAKEN, "leave out its binds and tmpfs: see sundog config"),
    Option("--env-host", "", TAKEN, "take the host's variables, too"),
    Option("--entrypoint", "WORD|JSON", TAKEN, 'in place of the image\'s ENTRYPOINT; "" for none'),
    Option("--name", "NAME", TAKEN, "a name, for ps, exec, stop and kill"),
    Option("--detach -d", "", TAKEN, "run in the background; see sundog logs"),
    Option("--rm", "", TAKEN, "remove the container and its changes when it ends"),
    Option("--cidfile", "FILE", TAKEN, "write the ID of the container to FILE, a new file"),
    Option("--label -l", "NAME=VALUE", TAKEN, "a label, for ps --filter and inspect"),
    Option("--stop-signal", "SIGNAL", TAKEN, "what sundog stop sends; default: the image's"),
    Option("--stop-timeout", "SECONDS", TAKEN, "until sundog stop kills it; default: 10"),
    Option("--userns", "MODE", TAKEN, "keep-id: run as yourself; host: the same as no --userns"),
    Option("--read-only", "", TAKEN, "the container can write to /tmp and to volumes only"),
    Option("--pull", "POLICY", TAKEN, "missing (default), always, never; or lazy: start it before "
           "it is here"),
    Option("--platform", "OS/ARCH", TAKEN, "what to pull; the machine must be able to run it"),
    Option("--arch", "ARCH", TAKEN, "the same"),
    Option("--tls-verify", "", TAKEN, "false: trust any registry's certificate for the pull"),
    Option("--quiet -q", "", TAKEN, "do not print the progress of a pull"),
    Option("--force", "MODE", TAKEN, "emulation of root: notify, seccomp, none; not podman's"),
    # These hold in any case.
    Option("--nobanner", "", HELD, "no banner is printed; udocker's"),
    Option("--init", "", HELD, "the machine's own init collects orphans"),
    Option("--sig-proxy", "", HELD, "signals reach the command"),
    Option("--http-proxy", "", HELD, "the proxy variables of the host are passed on"),
    Option("--label-file", "FILE", REFUSED, "labels are on the command line", "--label NAME=VALUE"),
    Option("--annotation", "NAME=VALUE", HELD, "nothing keeps annotations"),
    Option("--log-driver", "DRIVER", HELD, "output goes to your own streams"),
    Option("--log-opt", "OPTION", HELD, "output goes to your own streams"),
    Option("--shm-size", "SIZE", HELD, "/dev/shm is the host's"),
    Option("--read-only-tmpfs", "", HELD, "/tmp is writable in any case"),
    Option("--cgroups", "MODE", HELD, "the cgroup stays yours"),
    Option("--cgroupns", "MODE", HELD, "the cgroup stays yours"),
    Option("--cgroup-parent", "PATH", HELD, "the cgroup stays yours"),
    # These have no effect, and do no harm.
    Option("--group-add", "GROUP", WARNED, "your own groups stay", harmless=one_of("keep-groups")),
    Option("--ipc", "MODE", WARNED, "the host's IPC is used",
           harmless=one_of("host", "private", "shareable", "")),
    Option("--pid", "MODE", WARNED, "the host's processes are visible",
           harmless=one_of("host", "")),
    Option("--uts", "MODE", WARNED, "the host's name is used", harmless=one_of("host", "")),
    Option("--publish-all -P", "", WARNED, f"{_OWN_NETWORK}; its ports are the host's"),
    Option("--expose", "PORT", HELD, "all ports are the host's"),
    Option("--hostname -h", "NAME", WARNED, "the container has the host's name"),
    Option("--dns", "SERVER", WARNED, "the host's /etc/resolv.conf is used"),
    Option("--dns-search", "DOMAIN", WARNED, "the host's /etc/resolv.conf is used"),
    Option("--dns-option", "OPTION", WARNED, "the host's /etc/resolv.conf is used"),
    Option("--cap-add", "NAME", WARNED, _RIGHTS),
    Option("--cap-drop", "NAME", WARNED, _RIGHTS),
    Option("--memory -m", "SIZE", WARNED, _JOB),
    Option("--memory-swap", "SIZE", WARNED, _JOB),
    Option("--memory-reservation", "SIZE", WARNED, _JOB),
    Option("--cpus", "NUMBER", WARNED, _JOB),
    Option("--cpu-shares -c", "NUMBER", WARNED, _JOB),
    Option("--cpuset-cpus", "LIST", WARNED, _JOB),
    Option("--cpu-period", "NUMBER", WARNED, _JOB),
    Option("--cpu-quota", "NUMBER", WARNED, _JOB),
    Option("--pids-limit", "NUMBER", WARNED, _JOB),
    Option("--oom-score-adj", "NUMBER", WARNED, _JOB),
    Option("--ulimit", "LIMIT", WARNED, "your own limits hold", harmless=one_of("host")),
    Option("--sysctl", "NAME=VALUE", WARNED, "the host's settings hold"),
    Option("--health-cmd", "COMMAND", WARNED, "nothing checks health"),
    Option("--health-interval", "TIME", WARNED, "nothing checks health"),
    Option("--no-healthcheck", "", HELD, "nothing checks health"),
    # The command would miss these.
    Option("--publish -p", "PORTS", REFUSED, f"{_OWN_NETWORK}, so no port can be mapped",
           "leave it out, and have the program listen on a port of the host",
           harmless=_is_same_port),
    Option("--network --net", "MODE", REFUSED, f"{_OWN_NETWORK}, and no other",
           "leave it out, or give --network host",
           harmless=one_of("host", "bridge", "slirp4netns", "pasta", "default", "private", "")),
    Option("--restart", "POLICY", REFUSED, "no daemon would start the command again",
           "have the batch system or a loop do it", harmless=one_of("no", "on-failure:0")),
    Option("--attach -a", "STREAM", REFUSED, "output is always attached", "-i attaches stdin",
           harmless=one_of("stdout", "stderr", "STDOUT", "STDERR")),
    Option("--security-opt", "OPTION", REFUSED, "the container has your own rights and no filter",
           "leave it out", harmless=harmless_security),
    Option("--link", "CONTAINER", REFUSED, _OWN_NETWORK,
           "containers reach each other at localhost"),
    Option("--add-host", "NAME:ADDRESS", REFUSED, "the host's /etc/hosts is used",
           "bind a file of your own: -v ./hosts:/etc/hosts"),
    Option("--ip", "ADDRESS", REFUSED, f"{_OWN_NETWORK}, and its addresses",
           "leave it out"),
    Option("--mac-address", "ADDRESS", REFUSED, f"{_OWN_NETWORK}, and its addresses",
           "leave it out"),
    Option("--volumes-from", "CONTAINER", REFUSED, "containers keep no volumes",
           "bind the same directories: -v SRC:DST"),
    Option("--pod", "NAME", REFUSED, "there are no pods", "ch-run --join shares one container"),
    Option("--rootfs", "", REFUSED, "IMAGE may be a directory as it is",
           "give its path as IMAGE: ./DIR or /PATH/DIR"),
    Option("--pidfile", "FILE", REFUSED, "sundog run becomes the command",
           "its process ID is that of sundog run: $!"),
    Option("--runtime", "PROGRAM", REFUSED, "sundog is the runtime", "leave it out"),
    Option("--uidmap", "MAP", REFUSED, "one user is mapped: yourself",
           "--userns keep-id runs as yourself, --user as another"),
    Option("--gidmap", "MAP", REFUSED, "one group is mapped: your own",
           "--userns keep-id runs as yourself, --user as another"),
)  # fmt: skip
