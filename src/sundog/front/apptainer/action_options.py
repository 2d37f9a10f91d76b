"""The options of ``sundog apptainer exec``, ``run``, ``shell`` and ``test``.

Specification: the help of Apptainer 1.4, and its user guide.  Each option can be given by a
variable, too: see ``option_variables``.
"""

from __future__ import annotations

from sundog.front.apptainer.shared_options import (
    BIND,
    HELP,
    LOGIN,
    MOUNT,
    NO_DAEMON,
    WAYS_TO_BE_ROOT,
)
from sundog.front.options import HELD, REFUSED, TAKEN, WARNED, Option

_JOB = "the batch system decides that"
_RIGHTS = "the container has your own rights"
_NO_SIF = "an image of a registry runs from storage, and no SIF is made of it"
_PULL = "registries and logins are those of ch-image: see ch-image login"
_LATER = "it is not there yet"

# These options gather values.  Those of LISTS have commas between them, and those of a MAP pairs.
LISTS = frozenset(
    {
        "bind",
        "cdi-dirs",
        "containlibs",
        "device",
        "fusemount",
        "network-args",
        "no-mount",
        "overlay",
        "scratch",
    }
    | {"security", "env-file", "blkio-weight-device", "no-env"}
)
GATHERED = LISTS | {"env", "mount"}

ACTION = (
    HELP,
    Option("--app", "NAME", TAKEN, "use the app NAME of the Scientific Filesystem in the image"),
    BIND,
    MOUNT,
    Option("--cleanenv -e", "", TAKEN, "do not pass the host's variables on"),
    Option("--compat", "", TAKEN,
           "as --containall --no-eval --no-init --no-umask --writable-tmpfs"),
    Option("--contain -c", "", TAKEN, "an empty home, /tmp and /var/tmp, in memory"),
    Option("--containall -C", "", TAKEN, "--contain, with --cleanenv, --ipc and --pid"),
    Option("--cdi-dirs", "DIR", TAKEN, "look for CDI specifications in these directories only"),
    Option("--cwd --pwd", "DIR", TAKEN, "start in the container's directory DIR"),
    Option("--device", "DEVICE", TAKEN, "a device of CDI, VENDOR/CLASS=NAME"),
    *LOGIN,
    Option("--env", "NAME=VALUE", TAKEN, "set a variable; a list with commas"),
    Option("--env-file", "FILE", TAKEN, "set the variables in FILE, one NAME=VALUE a line"),
    Option("--fakeroot -f", "", TAKEN, "make the command see itself as root"),
    Option("--home -H", "SRC[:DST]", TAKEN, "show SRC at DST, which is the home directory"),
    Option("--hostname", "NAME", TAKEN, "the name of the machine that the command sees"),
    Option("--ipc -i", "", TAKEN, "System V IPC and message queues of its own"),
    Option("--net -n", "", TAKEN, "a network of its own; needs --network none"),
    Option("--network", "none", TAKEN, "with --net: no network but lo"),
    Option("--no-env", "NAME", TAKEN, "do not pass the host's variable NAME on"),
    Option("--no-eval", "", TAKEN, "let no shell evaluate the values and words you give"),
    Option("--no-home", "", TAKEN, "do not show the home directory"),
    Option("--no-mount", "NAME", TAKEN, "leave out: home, tmp, cwd"),
    Option("--no-umask", "", TAKEN, "use the umask 0022, not yours"),
    Option("--nv", "", TAKEN, "GPUs of NVIDIA, by their CDI specification"),
    Option("--rocm", "", TAKEN, "GPUs of AMD, by their CDI specification"),
    Option("--no-nv", "", TAKEN, "no GPUs of NVIDIA, also with $APPTAINER_NV"),
    Option("--no-rocm", "", TAKEN, "no GPUs of AMD, also with $APPTAINER_ROCM"),
    Option("--no-init", "", TAKEN, "let the command be PID 1 of its PID namespace"),
    Option("--overlay -o", "DIR[:ro]", TAKEN, "keep the changes in DIR; ro: show those in DIR"),
    Option("--pid -p", "", TAKEN, "process IDs of its own, with an init"),
    Option("--scratch -S", "DIR", TAKEN, "an empty directory at DIR; in memory without --workdir"),
    Option("--security", "NAME:VALUE", TAKEN, "uid:N and gid:N; others have no effect"),
    Option("--uts", "", TAKEN, "a host name of its own"),
    Option("--workdir -W", "DIR", TAKEN, "with --contain, home and /tmp are directories in DIR"),
    Option("--writable -w", "", TAKEN, "let the command write to IMAGE, a directory"),
    Option("--writable-tmpfs", "", TAKEN, "let the command write; discard the changes at the end"),
    # These hold in any case.
    Option("--userns -u", "", HELD, "there is no other way here"),
    Option("--disable-cache", "", HELD, _NO_SIF),
    *WAYS_TO_BE_ROOT,
    Option("--tmpdir", "DIR", HELD, _NO_SIF),
    Option("--no-pid", "", TAKEN, "see the host's processes, also with --containall"),
    Option("--no-privs", "", HELD, _RIGHTS),
    Option("--no-tmp-sandbox", "", HELD, "no image is unpacked to run it"),
    Option("--tmp-sandbox", "", HELD, "an image that is one file needs no directory"),
    Option("--unsquash", "", HELD, "an image that is one file needs no directory"),
    Option("--underlay", "", HELD, "missing mount points are made in any case"),
    Option("--sharens", "", HELD, "commands share no namespace, but all else"),
    # These have no effect, and do no harm.
    Option("--add-caps", "NAME", WARNED, _RIGHTS),
    Option("--drop-caps", "NAME", WARNED, _RIGHTS),
    Option("--keep-privs", "", WARNED, _RIGHTS),
    Option("--allow-setuid", "", WARNED, _RIGHTS),
    Option("--apply-cgroups", "FILE", WARNED, _JOB),
    Option("--blkio-weight", "NUMBER", WARNED, _JOB),
    Option("--blkio-weight-device", "DEVICE", WARNED, _JOB),
    Option("--cpu-shares", "NUMBER", WARNED, _JOB),
    Option("--cpus", "NUMBER", WARNED, _JOB),
    Option("--cpuset-cpus", "LIST", WARNED, _JOB),
    Option("--cpuset-mems", "LIST", WARNED, _JOB),
    Option("--memory", "SIZE", WARNED, _JOB),
    Option("--memory-reservation", "SIZE", WARNED, _JOB),
    Option("--memory-swap", "SIZE", WARNED, _JOB),
    Option("--oom-kill-disable", "", WARNED, _JOB),
    Option("--pids-limit", "NUMBER", WARNED, _JOB),
    Option("--dns", "SERVER", WARNED, "the host's /etc/resolv.conf is used"),
    Option("--network-args", "ARGUMENTS", WARNED, "the network has no devices"),
    NO_DAEMON,
    Option("--authfile", "FILE", WARNED, _PULL),
    Option("--docker-login", "", WARNED, _PULL),
    Option("--no-https --nohttps", "", WARNED, "registries.conf of ch-image tells that"),
    # The command would miss these.
    Option("--containlibs", "FILE", REFUSED, "libraries are files as others",
           "--bind FILE:/.singularity.d/libs/NAME"),
    Option("--boot", "", REFUSED, "no container has an init of its own", "leave it out"),
    Option("--dmtcp-launch", "NAME", REFUSED, "processes cannot be kept", "leave it out"),
    Option("--dmtcp-restart", "NAME", REFUSED, "processes cannot be kept", "leave it out"),
    Option("--fusemount", "SPEC", REFUSED, "no FUSE program is started",
           "mount it on the host, and bind it: --bind DIR"),
    Option("--intel-hpu", "", REFUSED, _LATER, "--device, by a CDI specification"),
    Option("--netns-path", "PATH", REFUSED, "no network namespace can be entered",
           "--net --network none"),
    Option("--nvccli", "", REFUSED, "nvidia-container-cli needs rights of root", "--nv"),
    Option("--oci", "", REFUSED, "images run by layers in any case", "leave it out"),
    Option("--passphrase", "", REFUSED, "encrypted images cannot be read",
           "apptainer build NEW.sif OLD.sif, where Apptainer is"),
    Option("--pem-path", "FILE", REFUSED, "encrypted images cannot be read",
           "apptainer build NEW.sif OLD.sif, where Apptainer is"),
)  # fmt: skip

SHELL = (
    *ACTION,
    Option("--shell -s", "PATH", TAKEN, "the shell; default: /bin/bash, else /bin/sh"),
)

RUN = (
    *ACTION,
    Option(
        "--runscript-timeout", "TIME", TAKEN, "let scripts of variables take so long; default: 1m"
    ),
)

TABLES = {"exec": ACTION, "run": RUN, "shell": SHELL, "test": ACTION}

# The options before the subcommand.
GLOBAL = (
    Option("--quiet -q", "", TAKEN, "print no INFO"),
    Option("--silent -s", "", TAKEN, "print no INFO and no WARNING"),
    Option("--verbose -v", "", TAKEN, "print more"),
    Option("--debug -d", "", TAKEN, "print all"),
    HELP,
    Option("--version", "", TAKEN, "print the version and exit"),
    Option("--nocolor", "", HELD, "messages have no colours"),
    Option("--build-config", "", REFUSED, "Sundog is not built as Apptainer is", "leave it out"),
    Option("--config -c", "FILE", TAKEN, "the settings of the site; $APPTAINER_CONFIG_FILE"),
)
