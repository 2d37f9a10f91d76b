"""Write the header of the compiled ``ch-run`` from the modules of the launcher in Python.

So the C and the Python have one source for filters, paths, texts and the kernel's constants, on
every architecture of the program.
"""

import errno
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

# The constants that the C takes from each module.
CONSTANTS = {
    "sundog.base.kernel.mounts": (
        *("AT_EMPTY_PATH", "AT_FDCWD", "AT_RECURSIVE", "AT_SYMLINK_NOFOLLOW", "MNT_DETACH"),
        *("FSCONFIG_CMD_CREATE", "FSCONFIG_SET_FLAG", "FSCONFIG_SET_STRING", "FSMOUNT_CLOEXEC"),
        *("FSOPEN_CLOEXEC", "MOUNT_ATTR_NODEV", "MOUNT_ATTR_NOSUID"),
        *("MOUNT_ATTR_RDONLY", "MOVE_MOUNT_F_EMPTY_PATH", "MOVE_MOUNT_T_SYMLINKS", "MS_BIND"),
        *("MS_NODEV", "MS_NOSUID", "MS_RDONLY", "MS_REC", "OPENAT2_ATTEMPTS", "OPEN_TREE_CLONE"),
        *("RESOLVE_IN_ROOT", "RESOLVE_NO_MAGICLINKS", "RESOLVE_NO_SYMLINKS"),
    ),
    "sundog.runtime.container.hidden": ("COVER_FLAGS", "COVER_MODE", "COVER_OPTIONS"),
    "sundog.runtime.container.mountpoint": ("INSIDE",),
    "sundog.base.kernel.namespaces": ("CLONE_NEWNS", "CLONE_NEWUSER"),
    "sundog.base.kernel.process": (
        *("PR_SET_DUMPABLE", "PR_SET_NO_NEW_PRIVS"),
        *("SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_SET_MODE_FILTER"),
    ),
    "sundog.runtime.launcher.storage": ("OPEN_TO_OTHERS", "S_IFDIR", "S_IFMT", "S_IFREG"),
    "sundog.base.record.location": (
        *("RUNTIME_NAME", "RUNTIME_VARIABLE", "S_IFLNK", "STORAGE_PARENT", "STORAGE_SUFFIX"),
        *("STORAGE_VARIABLE", "STORAGE_VERSION"),
    ),
    "sundog.base.record.layer_path": ("LAYER_TREE", "SHOWN"),
    "sundog.base.configuration.compiled": ("OTHERS_WRITE_RECORD", "RECORD_MARK", "RECORD_PRIME"),
    "sundog.base.configuration.level": (
        *("NO_STAMP", "RECORD_NAME", "SETTINGS_FILE", "SETTINGS_NONE", "SETTINGS_PARTS"),
        *("SETTINGS_SWITCH", "SITE_SETTINGS"),
    ),
    "sundog.base.configuration.keys": ("NO_LOG",),
    "sundog.base.record.identity": ("ID_LIMIT",),
    "sundog.base.record.hashed": ("HASH_FACTOR", "HASH_START"),
    "sundog.base.record.running": ("NOTE_FRESH", "RUNNING_DIRECTORY"),
    "sundog.base.record.stack": ("STACK_MAGIC", "STACK_MAGIC_3", "STACK_MAGIC_4", "USE_FRESH"),
    "sundog.runtime.container.enter": ("SCRATCH_SIZE",),
    "sundog.runtime.container.execute": ("DEFAULT_PATH", "LATE_FAILURE"),
    "sundog.runtime.container.search_path": ("ENGINE_PATH",),
    "sundog.base.kernel.files": (
        *("F_ADD_SEALS", "F_SEAL_GROW", "F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_WRITE"),
        *("MFD_ALLOW_SEALING", "MFD_CLOEXEC", "MFD_EXEC"),
    ),
    "sundog.runtime.emulation.terminal": ("LEGACY_TIOCSTI",),
    "sundog.errors": ("EXIT_EXEC", "EXIT_RUN"),
    "sundog.runtime.launcher.accounts": (
        *("ACCOUNTS_DIRECTORY", "ACCOUNTS_FRESH", "GROUP_NOBODY", "GROUP_ROOT", "NOBODY"),
        *("PASSWD_END", "PASSWD_NOBODY", "PASSWD_ROOT", "PASSWD_SHELL"),
    ),
    "sundog.runtime.launcher.environment": ("HOME_DEFAULT", "IMAGE_ENVIRONMENT"),
    "sundog.runtime.container.variables": ("CH_RUNNING",),
    "sundog.base.kernel.unix_peer": ("SO_PEERPIDFD",),
    "sundog.runtime.launcher.join": ("NAME_LIMIT", "NAME_PREFIX", "SILENCES"),
    "sundog.runtime.launcher.join_keeper": ("IMAGE_LIMIT", "PEER_ACCEPTED"),
    "sundog.runtime.launcher.main": ("SET_ID_REFUSAL",),
    "sundog.base.record.magic": (
        *("OLD_IMAGE_PLACE", "OLD_IMAGE_START", "SIF_MAGIC", "SIF_MAGIC_PLACE", "SQUASHFS_MAGIC"),
    ),
    "sundog.runtime.launcher.file_server": ("ENROOT_ENTRY", "SIF_RUN", "SIF_RUNSCRIPT"),
    "sundog.base.record.directory": ("OWN_COMMAND", "OWN_VARIABLES"),
    "sundog.runtime.container.squash_root": ("SQUASH_PLACE",),
    "sundog.runtime.fuse.device": ("FUSE_DEVICE",),
    "sundog.runtime.container.memory_share": ("OVERLAY_SHARE",),
    "sundog.runtime.launcher.run_plan": ("CRAY_DIRECTORY", "LOCAL_TIME"),
    "sundog.front.apptainer.apps": ("LIBRARIES",),
    "sundog.front.apptainer.image": ("STORED",),
    "sundog.front.apptainer.shown": ("VAR_TMP",),
    "sundog.front.apptainer.site": ("SITE_FILE",),
    "sundog.front.apptainer.variables": ("LIBRARY_PATH",),
}
ERRNOS = (
    *("EADDRINUSE", "EAGAIN", "ECONNREFUSED", "ECONNRESET", "EEXIST", "EINTR", "EINVAL", "ELOOP"),
    "EACCES",
    "ENODEV",
    *("ENOENT", "ENOTDIR", "ESTALE", "ETIMEDOUT"),
)

# The constants that no module has: fcntl.h, unistd.h, limits.h, linux/sched.h, linux/stat.h,
# linux/wait.h, linux/auxvec.h, asm-generic/signal.h, linux/socket.h, asm-generic/resource.h.
OTHERS = {
    "AT_EACCESS": 0x200,
    "AF_UNIX": 1,
    "AT_SECURE": 23,
    "CLONE_FILES": 0x400,
    "CLONE_VFORK": 0x4000,
    "CLONE_VM": 0x100,
    "F_DUPFD": 0,
    "MSG_CMSG_CLOEXEC": 0x40000000,
    "MSG_NOSIGNAL": 0x4000,
    "O_APPEND": 0o2000,
    "O_CLOEXEC": 0o2000000,
    "O_CREAT": 0o100,
    "O_EXCL": 0o200,
    "O_NOCTTY": 0o400,
    "O_NONBLOCK": 0o4000,
    "O_PATH": 0o10000000,
    "O_RDONLY": 0,
    "O_RDWR": 2,
    "O_WRONLY": 1,
    "PATH_LIMIT": 4096,
    "SIGPIPE": 13,
    "SIGXFSZ": 25,
    "RLIMIT_FSIZE": 1,
    "SCM_RIGHTS": 1,
    "SOCK_SEQPACKET": 5,
    "SOL_SOCKET": 1,
    "STATX_ATTR_MOUNT_ROOT": 0x2000,
    "STATX_BASIC_STATS": 0x7FF,
    "WAIT_ALL": 0x40000000,
    "W_OK": 2,
    "X_OK": 1,
}

# The program of the interpreter that serves an image.  Its arguments are the directory of ch-run, a
# joined module, for which it looks where the stub looks, the channel, and those of that module.
SERVER_PROGRAM = """\
import gc, sys, _frozen_importlib_external as loaders
gc.disable()
lib = "../lib/python%d.%d/" % sys.version_info[:2]
for site in lib + "site-packages", lib + "dist-packages", "../lib/python3/dist-packages", "..":
    path = f"{sys.argv[1]}{site}/sundog/runtime/launcher/{sys.argv[2]}.py"
    try:
        code = loaders.SourceFileLoader(sys.argv[2], path).get_code(sys.argv[2])
    except OSError:
        continue
    exec(code)
"""

# Relative to the directory of the program: the stubs that start Python, and what they execute.
STUBS = "../share/sundog/"
START_PROGRAM = "../share/sundog/start"

# System call numbers, from the kernel's syscall tables.  aarch64 and riscv64 use asm-generic's.
COLUMNS = {"x86_64": 0, "aarch64": 1, "riscv64": 1, "ppc64le": 2, "s390x": 3}
# fmt: off
NUMBERS = {
    #                x86-64 generic ppc64le s390x
    "bind":          (   49,    200,    327,   361),
    "chdir":         (   80,     49,     12,    12),
    "clock_gettime": (  228,    113,    246,   260),
    "clone":         (   56,    220,    120,   120),
    "close":         (    3,     57,      6,     6),
    "connect":       (   42,    203,    328,   362),
    "execve":        (   59,    221,     11,    11),
    "execveat":      (  322,    281,    362,   354),
    "exit":          (   60,     93,      1,     1),
    "faccessat":     (  269,     48,    298,   300),
    "faccessat2":    (  439,    439,    439,   439),
    "fchdir":        (   81,     50,    133,   133),
    "fchmod":        (   91,     52,     94,    94),
    "fchmodat":      (  268,     53,    297,   299),
    "fcntl":         (   72,     25,     55,    55),
    "fsconfig":      (  431,    431,    431,   431),
    "fsmount":       (  432,    432,    432,   432),
    "fsopen":        (  430,    430,    430,   430),
    "fstatfs":       (  138,     44,    100,   100),
    "getcwd":        (   79,     17,    182,   183),
    "getegid":       (  108,    177,     50,   202),
    "geteuid":       (  107,    175,     49,   201),
    "getpid":        (   39,    172,     20,    20),
    "getppid":       (  110,    173,     64,    64),
    "getsockopt":    (   55,    209,    340,   365),
    "kexec_load":    (  246,    104,    268,   277),
    "memfd_create":  (  319,    279,    360,   350),
    "mkdirat":       (  258,     34,    287,   289),
    "mount":         (  165,     40,     21,    21),
    "mount_setattr": (  442,    442,    442,   442),
    "move_mount":    (  429,    429,    429,   429),
    "nanosleep":     (   35,    101,     162,   162),
    "open_tree":     (  428,    428,    428,   428),
    "openat":        (  257,     56,    286,   288),
    "openat2":       (  437,    437,    437,   437),
    "pidfd_open":    (  434,    434,    434,   434),
    "pidfd_send_signal": (424,  424,    424,   424),
    "pivot_root":    (  155,     41,    203,   217),
    "prctl":         (  157,    167,    171,   172),
    "prlimit64":     (  302,    261,    325,   334),
    "read":          (    0,     63,      3,     3),
    "readlinkat":    (  267,     78,    296,   298),
    "recvmsg":       (   47,    212,    342,   372),
    "rt_sigaction":  (   13,    134,    173,   174),
    "seccomp":       (  317,    277,    358,   348),
    "sendmsg":       (   46,    211,    341,   370),
    "setns":         (  308,    268,    350,   339),
    "setsid":        (  112,    157,     66,    66),
    "socket":        (   41,    198,    326,   359),
    "socketpair":    (   53,    199,    333,   360),
    "statx":         (  332,    291,    383,   379),
    "umount2":       (  166,     39,     52,    52),
    "uname":         (   63,    160,    122,   122),
    "utimensat":     (  280,     88,    304,   315),
    "unshare":       (  272,     97,    282,   303),
    "wait4":         (   61,    260,    114,   114),
    "write":         (    1,     64,      4,     4),
}
# fmt: on

# arch/*/include/uapi/asm/socket.h: SO_PEERCRED.
PEER_CREDENTIALS = {"ppc64le": 21}
USUAL_PEER_CREDENTIALS = 17

# arch/*/include/uapi/asm/fcntl.h: O_DIRECTORY and O_NOFOLLOW.
OPEN_FLAGS = {"aarch64": (0o40000, 0o100000), "ppc64le": (0o40000, 0o100000)}
USUAL_OPEN_FLAGS = (0o200000, 0o400000)

BIG_ENDIAN = ("s390x",)

# The compiler's macro for each machine; the keys are the names of uname(2).
MACROS = {
    "x86_64": "__x86_64__",
    "aarch64": "__aarch64__",
    "ppc64le": "__powerpc64__",
    "riscv64": "__riscv",
    "s390x": "__s390x__",
}


def header(source: Path) -> str:
    """Return the text of the header, made from the package in ``source``."""
    sys.path.insert(0, str(source))
    try:
        return "\n".join(lines())
    finally:
        sys.path.remove(str(source))


def lines() -> list[str]:
    """Return the lines of the header."""
    from sundog.base.kernel.sharing import OF_ONE_NODE
    from sundog.runtime.container.local_ranks import GROUPS
    from sundog.runtime.emulation.filter import fake_root_program, native_abi
    from sundog.runtime.emulation.terminal import typing_program
    from sundog.runtime.fuse.messages import READY
    from sundog.runtime.launcher import environment, mpi, run_plan
    from sundog.runtime.process.last_step import last_step

    text = ["/* Made by packaging/native_header.py. */"]
    for module, names in CONSTANTS.items():
        found = vars(__import__(module, fromlist=["*"]))
        text += [define(name, found[name]) for name in names]
    text += [define(name, getattr(errno, name)) for name in ERRNOS]
    text += [define(name, value) for name, value in OTHERS.items()]
    text.append(f"#define LIMITS {', '.join(map(literal, limits()))}")
    text.append(define("STUBS", STUBS))
    text.append(define("START_PROGRAM", START_PROGRAM))
    text.append(define("SERVER_PROGRAM", SERVER_PROGRAM))
    text.append(define("SERVER_READY", READY))
    text.append(f"#define OF_ONE_NODE {', '.join(map(str, OF_ONE_NODE.values()))}")
    text += option_lines()
    text += key_lines()
    text += apptainer_lines()
    for name in ("SESSION_VARIABLES", "LAUNCHER_PREFIXES"):
        text.append(define_list(name, getattr(mpi, name)))
    text.append(define_list("GROUPS", [name for row in GROUPS for name in row]))
    text.append(define_list("APPENDED_PATHS", environment.APPENDED_PATHS))
    for name in ("REQUIRED", "OPTIONAL", "CRAY"):
        paths = getattr(run_plan, f"{name}_BINDS")
        text.append(define_list(f"{name}_BINDS", paths))
        text.append(define(f"{name}_COUNT", len(paths)))
    for machine, macro in MACROS.items():
        text.append(f"#ifdef {macro}")
        for name, value in zip(
            ("O_DIRECTORY", "O_NOFOLLOW"), OPEN_FLAGS.get(machine, USUAL_OPEN_FLAGS), strict=True
        ):
            text.append(define(name, value))
        credentials = PEER_CREDENTIALS.get(machine, USUAL_PEER_CREDENTIALS)
        text.append(define("SO_PEERCRED", credentials))
        text += [define(f"NR_{call}", row[COLUMNS[machine]]) for call, row in NUMBERS.items()]
        order: Literal["little", "big"] = "big" if machine in BIG_ENDIAN else "little"
        text.append(define("LAST_STEP", last_step(machine, order)))
        text.append(
            f"#define FAKE_ROOT {instructions(fake_root_program(native=native_abi(machine)))}"
        )
        text.append(f"#define NO_TYPING {instructions(typing_program(machine))}")
        text.append("#endif")
    return [*text, ""]


def limits() -> list[bytes]:
    """Return where control groups have their limits of memory, and the names of the files."""
    from sundog.runtime.container.memory_share import CGROUP_V1, CGROUP_V2

    return [
        text
        for places, name, *_ in (CGROUP_V2, CGROUP_V1)
        for place in places
        for text in (place, b"/" + name)
    ]


def option_lines() -> list[str]:
    """Return the options as an enumeration, and as initializers of a table in the same order."""
    from sundog.runtime.launcher.help import OPTIONS

    names = [long.upper().replace("-", "_") for _, long, _, _ in OPTIONS]
    rows = [
        f"{{{ord(short) if short else 0}, {kind_of(argument)}, {literal(long)}}}"
        for short, long, argument, _ in OPTIONS
    ]
    return [
        "enum argument { NONE, ATTACHED, WANTED };",
        f"enum option {{ {', '.join(names)} }};",
        f"#define OPTIONS {', '.join(rows)}",
    ]


def key_lines() -> list[str]:
    """Return the keys of the configuration as an enumeration, and as initializers of a table."""
    from sundog.base.configuration.keys import KEYS

    names = [key.path.upper().replace(".", "_") for key in KEYS]
    rows = [f"{{{literal(key.path)}, {int(key.is_obeyed)}, {int(key.adds_up)}}}" for key in KEYS]
    return [
        f"enum key {{ {', '.join(names)}, KEY_COUNT }};",
        f"#define KEYS {', '.join(rows)}",
    ]


def apptainer_lines() -> list[str]:
    """Return what ``native/apptainer.c`` needs, and check that the plan is the one that it makes.

    In a variable, these characters stand for: \\1 the home, \\2 the working directory, \\5 and
    \\4 the two parts of IMAGE around its last slash.
    """
    from sundog.front import ch_run_line
    from sundog.front.apptainer import option_variables, shown, variables
    from sundog.front.apptainer.host import Host
    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.apptainer.line import scan_action
    from sundog.front.apptainer.plan import plan_of
    from sundog.front.apptainer.site import Site
    from sundog.runtime.launcher.messages import APPTAINER_WIDTH, APPTAINER_WORDS
    from sundog.runtime.launcher.statuses import APPTAINER_STATUSES

    host = Host(
        {}, "\2", "\1", exists=bool, has_devices=bool, read_file=str, read_script=str, site=Site()
    )
    line = scan_action("exec", ["docker://\3", "true"], {})
    plan = plan_of("exec", line, ImageFacts("\3", "\5/\4"), host)
    path = variables.DEFAULT_PATH
    # Without the working directory in the container, the C does not start the command.
    own = {
        name: value for name, value in plan.environment.items() if not name.startswith("SUNDOG_")
    }
    expected = [
        *("--bind=\1:\1", f"--bind={shown.VAR_TMP}:{shown.VAR_TMP}", "--bind=\2:\2", "--cd=\2"),
        *("--env-no-expand", "--no-mpi-env", "--unset-env=*"),
        *(f"--set-env=PATH='{path}'", "--set-env=HOME='\1'"),
        *(f"--env={name}" for name in own),
        *(f"--set-env={variables.LIBRARY_PATH}='{variables.LIBRARIES}'", "\3", "--", "true"),
    ]
    if plan.arguments != expected:
        raise ValueError(f"native/apptainer.c makes another plan than {plan.arguments}")
    starts = (*ch_run_line.STEERING_STARTS, *ch_run_line.MPI_STARTS)
    return [
        define("FATAL_START", f"{APPTAINER_WORDS['error']:{APPTAINER_WIDTH}}"),
        define("EXIT_FATAL", APPTAINER_STATUSES.failed),
        define("DEFAULT_PATH_OF_EXEC", path),
        define_list("DEFAULT_PATHS", path.encode().split(b":")),
        define_texts(
            "OWN_VARIABLES_OF_EXEC",
            ["HOME=\1", *(f"{name}={value}" for name, value in own.items())],
        ),
        define_texts("HOSTS_OWN", sorted(variables.HOSTS_OWN)),
        define_texts("OWN_STARTS", variables.OWN_STARTS),
        define_texts("APPTAINER_PREFIXES", (*option_variables.PREFIXES, *variables.INJECTING)),
        define_texts("UNBOUND", sorted(shown.UNBOUND)),
        define_texts("UNBOUND_BELOW", shown.UNBOUND_BELOW),
        define_texts("STEERING", ch_run_line.STEERING),
        define_texts("STEERING_PREFIXES", starts),
    ]


def define_texts(name: str, values: Iterable[str]) -> str:
    """Return the definition of the initializers of an array of strings."""
    return define_list(name, [value.encode() for value in values])


def kind_of(argument: str) -> str:
    """Return the kind of an option's argument; brackets in the table mark an optional argument."""
    if not argument:
        return "NONE"
    return "ATTACHED" if argument.startswith("[") else "WANTED"


def define(name: str, value: int | str | bytes) -> str:
    """Return the definition of a constant."""
    if isinstance(value, int):
        return f"#define {name} {value}{'u' if value >= 1 << 63 else ''}"
    return f"#define {name} {literal(value)}"


def define_list(name: str, values: Sequence[bytes]) -> str:
    """Return the definition of the initializers of an array of strings."""
    return f"#define {name} {', '.join(map(literal, values))}"


def literal(text: str | bytes) -> str:
    """Return the string literal of C for an ASCII text."""
    data = text.encode("ascii") if isinstance(text, str) else text
    return '"' + "".join(chr(c) if c in PLAIN else f"\\{c:03o}" for c in data) + '"'


PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\?')


def instructions(program: bytes) -> str:
    """Return the instructions of a filter as initializers of struct sock_filter."""
    from sundog.runtime.emulation.bpf import disassemble

    return ", ".join(f"{{{code}, {jt}, {jf}, {k}u}}" for code, jt, jf, k in disassemble(program))


if __name__ == "__main__":
    sys.stdout.write(header(Path(sys.argv[1])))
