"""The numbers of the calls that ``notify`` filters or makes, by architecture.  Data only.

A test compares every number with libseccomp's and with the kernel's headers.  aarch64, riscv64 and
loongarch64 have the numbers of the kernel's ``asm-generic/unistd.h``; the others have tables of
their own (``arch/*/**/syscall*.tbl``).
"""

from __future__ import annotations

from sundog.runtime.emulation.syscalls import NONE

_NUMBER_COLUMNS = ("x86_64", "i386", "ppc64le", "s390x", "generic")

# fmt: off
_NOTIFY_NUMBERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    #                      x86-64  i386 ppc64le s390x generic
    # stat(2), and directories
    ("stat",               (   4,  106,  106,  106, NONE)),
    ("lstat",              (   6,  107,  107,  107, NONE)),
    ("fstat",              (   5,  108,  108,  108,   80)),
    ("newfstatat",         ( 262, NONE,  291,  293,   79)),
    ("stat64",             (NONE,  195, NONE, NONE, NONE)),
    ("lstat64",            (NONE,  196, NONE, NONE, NONE)),
    ("fstat64",            (NONE,  197, NONE, NONE, NONE)),
    ("fstatat64",          (NONE,  300, NONE, NONE, NONE)),
    ("oldstat",            (NONE,   18, NONE, NONE, NONE)),
    ("oldlstat",           (NONE,   84, NONE, NONE, NONE)),
    ("oldfstat",           (NONE,   28, NONE, NONE, NONE)),
    ("statx",              ( 332,  383,  383,  379,  291)),
    ("getdents",           (  78,  141,  141,  141, NONE)),
    ("getdents64",         ( 217,  220,  202,  220,   61)),
    ("access",             (  21,   33,   33,   33, NONE)),
    ("faccessat",          ( 269,  307,  298,  300,   48)),
    ("faccessat2",         ( 439,  439,  439,  439,  439)),
    # identities; on i386 the plain names take 16-bit IDs
    ("getuid",             ( 102,   24,   24,  199,  174)),
    ("geteuid",            ( 107,   49,   49,  201,  175)),
    ("getgid",             ( 104,   47,   47,  200,  176)),
    ("getegid",            ( 108,   50,   50,  202,  177)),
    ("getresuid",          ( 118,  165,  165,  209,  148)),
    ("getresgid",          ( 120,  171,  170,  211,  150)),
    ("getgroups",          ( 115,   80,   80,  205,  158)),
    ("getuid32",           (NONE,  199, NONE, NONE, NONE)),
    ("geteuid32",          (NONE,  201, NONE, NONE, NONE)),
    ("getgid32",           (NONE,  200, NONE, NONE, NONE)),
    ("getegid32",          (NONE,  202, NONE, NONE, NONE)),
    ("getresuid32",        (NONE,  209, NONE, NONE, NONE)),
    ("getresgid32",        (NONE,  211, NONE, NONE, NONE)),
    ("getgroups32",        (NONE,  205, NONE, NONE, NONE)),
    ("setuid",             ( 105,   23,   23,  213,  146)),
    ("setgid",             ( 106,   46,   46,  214,  144)),
    ("setreuid",           ( 113,   70,   70,  203,  145)),
    ("setregid",           ( 114,   71,   71,  204,  143)),
    ("setresuid",          ( 117,  164,  164,  208,  147)),
    ("setresgid",          ( 119,  170,  169,  210,  149)),
    ("setfsuid",           ( 122,  138,  138,  215,  151)),
    ("setfsgid",           ( 123,  139,  139,  216,  152)),
    ("setgroups",          ( 116,   81,   81,  206,  159)),
    ("setuid32",           (NONE,  213, NONE, NONE, NONE)),
    ("setgid32",           (NONE,  214, NONE, NONE, NONE)),
    ("setreuid32",         (NONE,  203, NONE, NONE, NONE)),
    ("setregid32",         (NONE,  204, NONE, NONE, NONE)),
    ("setresuid32",        (NONE,  208, NONE, NONE, NONE)),
    ("setresgid32",        (NONE,  210, NONE, NONE, NONE)),
    ("setfsuid32",         (NONE,  215, NONE, NONE, NONE)),
    ("setfsgid32",         (NONE,  216, NONE, NONE, NONE)),
    ("setgroups32",        (NONE,  206, NONE, NONE, NONE)),
    ("capget",             ( 125,  184,  183,  184,   90)),
    ("capset",             ( 126,  185,  184,  185,   91)),
    ("prctl",              ( 157,  172,  171,  172,  167)),
    ("execve",             (  59,   11,   11,   11,  221)),
    ("execveat",           ( 322,  358,  362,  354,  281)),
    # owners, modes, times, sizes
    ("chown",              (  92,  182,  181,  212, NONE)),
    ("lchown",             (  94,   16,   16,  198, NONE)),
    ("fchown",             (  93,   95,   95,  207,   55)),
    ("chown32",            (NONE,  212, NONE, NONE, NONE)),
    ("lchown32",           (NONE,  198, NONE, NONE, NONE)),
    ("fchown32",           (NONE,  207, NONE, NONE, NONE)),
    ("fchownat",           ( 260,  298,  289,  291,   54)),
    ("chmod",              (  90,   15,   15,   15, NONE)),
    ("fchmod",             (  91,   94,   94,   94,   52)),
    ("fchmodat",           ( 268,  306,  297,  299,   53)),
    ("fchmodat2",          ( 452,  452,  452,  452,  452)),
    ("utime",              ( 132,   30,   30,   30, NONE)),
    ("utimes",             ( 235,  271,  251,  313, NONE)),
    ("futimesat",          ( 261,  299,  290,  292, NONE)),
    ("utimensat",          ( 280,  320,  304,  315,   88)),
    ("utimensat_time64",   (NONE,  412, NONE, NONE, NONE)),
    ("truncate",           (  76,   92,   92,   92,   45)),
    ("truncate64",         (NONE,  193, NONE, NONE, NONE)),
    ("ftruncate",          (  77,   93,   93,   93,   46)),
    ("ftruncate64",        (NONE,  194, NONE, NONE, NONE)),
    # attributes
    ("setxattr",           ( 188,  226,  209,  224,    5)),
    ("lsetxattr",          ( 189,  227,  210,  225,    6)),
    ("fsetxattr",          ( 190,  228,  211,  226,    7)),
    ("setxattrat",         ( 463,  463,  463,  463,  463)),
    ("getxattr",           ( 191,  229,  212,  227,    8)),
    ("lgetxattr",          ( 192,  230,  213,  228,    9)),
    ("fgetxattr",          ( 193,  231,  214,  229,   10)),
    ("getxattrat",         ( 464,  464,  464,  464,  464)),
    ("listxattr",          ( 194,  232,  215,  230,   11)),
    ("llistxattr",         ( 195,  233,  216,  231,   12)),
    ("flistxattr",         ( 196,  234,  217,  232,   13)),
    ("listxattrat",        ( 465,  465,  465,  465,  465)),
    ("removexattr",        ( 197,  235,  218,  233,   14)),
    ("lremovexattr",       ( 198,  236,  219,  234,   15)),
    ("fremovexattr",       ( 199,  237,  220,  235,   16)),
    ("removexattrat",      ( 466,  466,  466,  466,  466)),
    # names and new inodes
    ("open",               (   2,    5,    5,    5, NONE)),
    ("openat",             ( 257,  295,  286,  288,   56)),
    ("openat2",            ( 437,  437,  437,  437,  437)),
    ("chdir",              (  80,   12,   12,   12,   49)),
    ("fchdir",             (  81,  133,  133,  133,   50)),
    ("creat",              (  85,    8,    8,    8, NONE)),
    ("open_by_handle_at",  ( 304,  342,  346,  336,  265)),
    ("mkdir",              (  83,   39,   39,   39, NONE)),
    ("mkdirat",            ( 258,  296,  287,  289,   34)),
    ("symlink",            (  88,   83,   83,   83, NONE)),
    ("symlinkat",          ( 266,  304,  295,  297,   36)),
    ("mknod",              ( 133,   14,   14,   14, NONE)),
    ("mknodat",            ( 259,  297,  288,  290,   33)),
    ("link",               (  86,    9,    9,    9, NONE)),
    ("linkat",             ( 265,  303,  294,  296,   37)),
    ("unlink",             (  87,   10,   10,   10, NONE)),
    ("unlinkat",           ( 263,  301,  292,  294,   35)),
    ("rmdir",              (  84,   40,   40,   40, NONE)),
    ("rename",             (  82,   38,   38,   38, NONE)),
    ("renameat",           ( 264,  302,  293,  295,   38)),
    ("renameat2",          ( 316,  353,  357,  347,  276)),
    ("inotify_add_watch",  ( 254,  292,  276,  285,   27)),
    # sockets, keys, System V IPC, signals
    ("socketcall",         (NONE,  102,  102,  102, NONE)),
    ("bind",               (  49,  361,  327,  361,  200)),
    ("getsockopt",         (  55,  365,  340,  365,  209)),
    ("add_key",            ( 248,  286,  269,  278,  217)),
    ("keyctl",             ( 250,  288,  271,  280,  219)),
    ("request_key",        ( 249,  287,  270,  279,  218)),
    ("ipc",                (NONE,  117,  117,  117, NONE)),
    ("shmget",             (  29,  395,  395,  395,  194)),
    ("shmctl",             (  31,  396,  396,  396,  195)),
    ("semget",             (  64,  393,  393,  393,  190)),
    ("semctl",             (  66,  394,  394,  394,  191)),
    ("msgget",             (  68,  399,  399,  399,  186)),
    ("msgctl",             (  71,  402,  402,  402,  187)),
    ("shmat",              (  30,  397,  397,  397,  196)),
    ("semop",              (  65, NONE, NONE, NONE,  193)),
    ("semtimedop",         ( 220, NONE,  392,  392,  192)),
    ("semtimedop_time64",  (NONE,  420, NONE, NONE, NONE)),
    ("msgsnd",             (  69,  400,  400,  400,  189)),
    ("msgrcv",             (  70,  401,  401,  401,  188)),
    ("rt_sigaction",       (  13,  174,  173,  174,  134)),
    ("kill",               (  62,   37,   37,   37,  129)),
    ("tkill",              ( 200,  238,  208,  237,  130)),
    ("tgkill",             ( 234,  270,  250,  241,  131)),
    ("pidfd_send_signal",  ( 424,  424,  424,  424,  424)),
    ("rt_sigqueueinfo",    ( 129,  178,  177,  178,  138)),
    ("rt_tgsigqueueinfo",  ( 297,  335,  322,  330,  240)),
    # roots and namespaces
    ("chroot",             ( 161,   61,   61,   61,   51)),
    ("pivot_root",         ( 155,  217,  203,  217,   41)),
    ("setns",              ( 308,  346,  350,  339,  268)),
    ("unshare",            ( 272,  310,  282,  303,   97)),
    ("clone",              (  56,  120,  120,  120,  220)),
    ("clone3",             ( 435,  435,  435,  435,  435)),
    ("mount",              ( 165,   21,   21,   21,   40)),
    ("umount",             (NONE,   22, NONE,   22, NONE)),
    ("umount2",            ( 166,   52,   52,   52,   39)),
    ("fsopen",             ( 430,  430,  430,  430,  430)),
    ("fsconfig",           ( 431,  431,  431,  431,  431)),
    ("fsmount",            ( 432,  432,  432,  432,  432)),
    ("move_mount",         ( 429,  429,  429,  429,  429)),
    ("open_tree",          ( 428,  428,  428,  428,  428)),
    # limits, and what the filter and the supervisor need themselves
    ("getrlimit",          (  97,   76, NONE,  191,  163)),
    ("ugetrlimit",         (NONE,  191,  190, NONE, NONE)),
    ("setrlimit",          ( 160,   75,   75,   75,  164)),
    ("prlimit64",          ( 302,  340,  325,  334,  261)),
    ("io_uring_setup",     ( 425,  425,  425,  425,  425)),
    ("kexec_load",         ( 246,  283,  268,  277,  104)),
    ("seccomp",            ( 317,  354,  358,  348,  277)),
    ("pidfd_getfd",        ( 438,  438,  438,  438,  438)),
)
# fmt: on

# Transposed once: every start with ``notify`` loads this module.
_NUMBERED_CALLS = [name for name, _ in _NOTIFY_NUMBERS]
_NUMBERS_BY_COLUMN = dict(
    zip(_NUMBER_COLUMNS, zip(*[row for _, row in _NOTIFY_NUMBERS], strict=True), strict=True)
)


def numbers_of(column: str, lacking: tuple[str, ...] = ()) -> dict[str, int]:
    """Return the number of each call in ``column``, without the calls in ``lacking``."""
    found = dict(zip(_NUMBERED_CALLS, _NUMBERS_BY_COLUMN[column], strict=True))
    return {
        name: number for name, number in found.items() if number != NONE and name not in lacking
    }
