"""The options of ``ch-run``, and the texts of --help and --usage."""

from __future__ import annotations

USAGE = "ch-run [OPTION...] IMAGE [-- COMMAND [ARG...]]"

# short, long, argument (in brackets: optional), help text
OPTIONS = (
    ("a", "arch", "ARCH", "run the image for ARCH (default: host, this machine's; else the only)"),
    ("b", "bind", "SRC[:DST[:ro]]", "show the host's SRC at DST (default: the same path)"),
    ("c", "cd", "DIR", "start COMMAND in the container's directory DIR"),
    ("", "cdi-dirs", "DIR[:DIR]", "look for CDI specifications in these directories only"),
    ("", "cdi-hooks", "", "also run hooks of CDI specifications that ch-run does not know"),
    ("", "container", "ID", "run a container that sundog keeps: its image, and its own changes"),
    ("", "device", "DEVICE", "show a device of CDI, VENDOR/CLASS=NAME, or a device node"),
    ("d", "devices", "", "show all devices of all CDI specifications"),
    ("", "dry-run", "", "print what ch-run would mount and execute, and exit"),
    ("e", "env", "NAME[=VALUE]", "set a variable as it stands; without a value: the host's"),
    ("", "env-no-expand", "", "do not expand $ in the values of --set-env"),
    ("", "feature", "FEAT", "exit with status 0 if FEAT works on this machine"),
    ("g", "gid", "GID", "run as group GID in the container"),
    ("", "home", "", "show your home directory at its own path"),
    ("", "host-glibc", "", "with --host-mpi, also replace an older C library of the image"),
    ("", "host-mpi", "[PROFILE]", "use the host's MPI in place of the image's, if the ABIs fit"),
    ("", "image-store", "DIR", "also look for images in this shared store; repeatable"),
    ("j", "join", "", "share one container with the other processes of the group (see below)"),
    ("", "join-ct", "NUM", "the size of the group; implies --join"),
    ("", "join-pid", "PID", "run in the container of process PID"),
    ("", "join-tag", "TAG", "the name of the group; implies --join"),
    ("", "lazy", "[HOW]", "pull IMAGE if it is missing, and start it before it is here"),
    ("m", "mount", "DIR", "show an image that is one file at the host's DIR, for --bind"),
    ("", "no-fallback", "", "fail if --notify is not possible; do not use --seccomp"),
    ("", "no-mpi-env", "", "with --unset-env='*', also remove what mpirun and srun set"),
    ("", "no-passwd", "", "leave the image's /etc/passwd and /etc/group as they are"),
    ("", "no-site-binds", "", "leave out binds and tmpfs of the configuration (see sundog config)"),
    ("", "notify", "[LEVEL]", "make COMMAND see itself as root; remember its changes (see below)"),
    ("", "overlay", "DIR[:ro]", "put the changes of COMMAND into DIR; ro: show those in DIR"),
    ("", "own-dev", "", "give the container its own /dev, with few devices"),
    ("t", "private-tmp", "", "give the container its own /tmp"),
    ("q", "quiet", "", "hide COMMAND's output; twice: also warnings; three times: also errors"),
    ("", "record", "FILE", "first fetch what FILE lists; write what is read of the image to it"),
    ("", "seccomp", "", "fake the system calls that need root"),
    ("", "set-env", "[ARG]", "set NAME=VALUE, or the variables in a file (/ch/environment)"),
    ("", "set-env0", "[ARG]", "the same, but the file has NUL between variables"),
    ("s", "storage", "DIR", "look for images in DIR"),
    ("", "test", "WHAT", "print messages and exit: log, or log-fail; see ch-test for more"),
    (
        "",
        "tmpfs",
        "DIR[:OPTIONS]",
        "show an empty directory in memory at DIR (size=64m, mode=1777)",
    ),
    ("u", "uid", "UID", "run as user UID in the container"),
    ("", "unsafe", "", "allow IMAGE to be a directory inside the storage directory"),
    ("", "unset-env", "GLOB", "remove the variables whose names match GLOB"),
    ("", "user", "NAME[:GROUP]", "run as this user of the image; implies --notify"),
    ("", "verify", "", "compare the files of an image in a shared store with their digests"),
    ("v", "verbose", "", "print what ch-run does; twice: also how; three times: everything"),
    ("", "warnings", "NUM", "print NUM warnings and exit"),
    ("w", "write", "", "mount the image read-write (a directory image only)"),
    ("W", "write-fake", "[SIZE]", "let COMMAND write; discard the changes at the end (SIZE: 12%)"),
    ("?", "help", "", "print this help and exit"),
    ("", "usage", "", "print a short usage message and exit"),
    ("V", "version", "", "print the version and exit"),
)

# Options that podman's users type.  ch-run accepts them and says why they do nothing.
_ALWAYS_INTERACTIVE = "COMMAND always has the terminal and the standard input of ch-run"
ACCEPTED = {
    **dict.fromkeys((b"-it", b"-ti", b"-i", b"--interactive", b"--tty"), _ALWAYS_INTERACTIVE),
    b"--rm": "ch-run never leaves a container behind",
}

# Hints for podman's users: words in place of an option of podman that ch-run lacks.
INSTEAD = {
    "entrypoint": "write the command after IMAGE --",
    "env-file": "write --set-env=FILE",
    "env-host": "COMMAND has the variables of the host unless --unset-env removes them",
    "network": "COMMAND has the network of the host",
    "publish": "COMMAND has the network of the host, with all its ports",
    "read-only": "the image is read-only unless you write -w or -W",
    "unsetenv": "write --unset-env GLOB",
    "volume": "write -b SRC[:DST[:ro]]",
    "workdir": "write -c DIR",
}


def help_text() -> str:
    """Return the text of --help."""
    lines = [f"Usage: {USAGE}", "Run a command in a container made from an image.", ""]
    for short, long, argument, description in OPTIONS:
        letter = f"-{short}," if short else "   "
        lines.append(f"  {letter} --{long + attached(argument):<22} {description}")
    lines += [
        "",
        "IMAGE is the name of an image in the storage directory (see ch-image list), a directory,",
        "a file with SquashFS or SIF, or oci:PATH[:TAG] for an OCI layout or an archive.  Without",
        "COMMAND, the image's ENTRYPOINT and CMD run.  Write COMMAND and its options after --.",
        "",
        "With --notify, COMMAND sees itself as the user of --user, or of -u and -g, else as the",
        "image's USER, else as root.  It sees the owners, groups and devices of the image, and may",
        "change them.  ch-run keeps the changes as long as the files: with -w, in DIR/ch/owners.",
        "When COMMAND ends, ch-run kills the processes that COMMAND left.  If --notify is not",
        "possible, ch-run prints a warning and uses --seccomp; with --no-fallback it fails.",
        "With --notify=strict, reading and writing obey owners and modes, too.  That takes longer.",
        "--notify is no security boundary.",
        "",
        "With --join, the processes of a group share the container that the first one makes.  The",
        "IMAGE, mounts and IDs of the others do not count.  A group has the same --join-tag, else",
        "the same Slurm step, else the same parent process.",
        "",
        "Exit status: that of COMMAND; 31 if ch-run fails, 49 if COMMAND cannot be executed, 64 if",
        "an option is wrong.",
    ]
    return "\n".join(lines) + "\n"


def usage_text() -> str:
    """Return the text of --usage."""
    lines = ["Usage: ch-run"]
    for short, long, argument, _ in OPTIONS:
        word = f"[{'-' + short + '|' if short else ''}--{long}{attached(argument)}]"
        if len(lines[-1]) + len(word) > 78:
            lines.append("            ")
        lines[-1] += " " + word
    return "\n".join([*lines, "             IMAGE [-- COMMAND [ARG...]]"]) + "\n"


def attached(argument: str) -> str:
    """Return an option's argument in the form that follows the long name."""
    return "[=" + argument[1:] if argument.startswith("[") else argument and "=" + argument
