"""Make the cache of the dynamic linker (``/etc/ld.so.cache``) of a container: ldconfig(8).

The linker finds a library by this cache, so a library of the host that the container shows must be
in it.  The image's own ldconfig writes the cache, because it knows the format that the image's
linker reads.  If the image has none, the host's one does, if it is linked statically.  A linker of
musl reads no cache.

An image is hostile, and so is what its ldconfig does or writes; the host's one reads hostile files.
So the program runs confined: its root is the image with the mounts that the caller names.  It has
mount, PID, network and IPC namespaces of its own, no capabilities, no descriptors, and bounds on
its time, memory, files and processes.

Sources: ldconfig(8), ld.so(8) of man-pages.

Floor 0.
"""

import os
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGKILL,
    SIGPIPE,
    SIGXFSZ,
    signal,
)
from resource import (
    RLIMIT_AS,
    RLIMIT_CORE,
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_NPROC,
    setrlimit,
)
from select import POLLIN, poll

from sundog.container.enter import change_root, topmost_mount
from sundog.container.operations import CREATED, Bind, TmpfsMount, mount_tmpfs
from sundog.container.paths import OPEN_DIRECTORY
from sundog.errors import KernelError, SundogError
from sundog.kernel.files import (
    STDERR_FILENO,
    STDIN_FILENO,
    STDOUT_FILENO,
    Closing,
    close_all_but,
)
from sundog.kernel.libc import printable
from sundog.kernel.modes import S_IFMT, S_IFREG
from sundog.kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    unshare,
)
from sundog.kernel.process import (
    execve,
    prctl,
    set_dumpable,
    set_no_new_privs,
    set_pdeathsig,
)
from sundog.linker.search import LINKER_DIRECTORIES, names_in
from sundog.linker.shared_object import ElfError, SharedObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.container.operations import Operation

LINKER_CACHE = b"/etc/ld.so.cache"
# How a cache begins: glibc 2.2 and later, and the older form that may come before it.
CACHE_MAGICS = (b"glibc-ld.so.cache1.1", b"ld.so-1.7.0")

IMAGE_PROGRAMS = (b"/sbin/ldconfig", b"/usr/sbin/ldconfig")
HOST_PROGRAMS = (b"/sbin/ldconfig.real", b"/sbin/ldconfig", b"/usr/sbin/ldconfig")

# In the confined container, a tmpfs takes the place of the devices, which ldconfig does not need.
OUTPUT_PLACE = b"/dev"
OUTPUT_NAME = b"ld.so.cache"
HOST_PROGRAM_PLACE = OUTPUT_PLACE + b"/ldconfig"
# Do not read or make symlinks and the auxiliary cache: the image is read-only, and not to be
# believed.
PROGRAM_OPTIONS = (b"-i", b"-X", b"-C", OUTPUT_PLACE + b"/" + OUTPUT_NAME)
PROGRAM_ENVIRONMENT = [b"PATH=/usr/sbin:/usr/bin:/sbin:/bin", b"LC_ALL=C"]

LDCONFIG_SECONDS = 30
LARGEST_CACHE = 16 << 20  # bytes
OUTPUT_SIZE = 2 * LARGEST_CACHE + (1 << 20)  # ldconfig writes a draft first
MOST_MEMORY = 2 << 30  # bytes of addresses
LIMITS = (
    (RLIMIT_AS, MOST_MEMORY),
    (RLIMIT_CORE, 0),
    (RLIMIT_CPU, LDCONFIG_SECONDS),
    (RLIMIT_FSIZE, LARGEST_CACHE),
    (RLIMIT_NPROC, 0),  # where a site forbids PID namespaces, no process may stay
)
CONFINED_SCRATCH = 1 << 20
NO_PROGRAM = "the image has no ldconfig, and the host has none that is linked statically"
PROGRAM_HINT = "install ldconfig in the image, or on the host one that is linked statically"
ERROR_SIZE = 4096  # bytes of the program's messages that are kept

PR_CAPBSET_DROP = 24
CONFINED = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC  # some sites forbid one of them

GLIBC_LINKERS = (b"ld-linux", b"ld64.so.")  # how the names of glibc's linkers begin
MUSL_LINKERS = b"ld-musl-"

CACHE_ANSWER, ERROR_ANSWER, LATE_ANSWER, ANSWER_HINT = b"+", b"-", b"!", b"\0"


def make_linker_cache(
    operations: "Sequence[Operation]", folders: "Sequence[bytes]" = ()
) -> bytes | None:
    """Return the contents of a linker cache for the container that is about to be entered.

    Call it in the namespaces of ``enter_namespaces``, when the container's root is mounted on top
    of "/" (``Plan.mount``, ``add_missing_points``), and before ``enter``.  It changes nothing: a
    forked process in further namespaces does the work.

    operations  mounts of ``container.operations`` that show libraries, in order.  The function
                acquires and attaches copies of its own, so their sources must still be reachable.
                A mount point that is missing is made if the operation says so; in a writable root,
                it then stays.
    folders     directories, as the container sees them, that ldconfig searches first, in this
                order; those of the image's /etc/ld.so.conf and the linker's own follow

    A library is found by the symlink that its soname names (``libfoo.so.1``).  ldconfig makes no
    symlinks here: the caller must show those that a folder lacks.

    Returns None if the image has no linker of glibc, which alone reads the cache: then prepend the
    folders to $LD_LIBRARY_PATH.  Otherwise the result begins with one of ``CACHE_MAGICS`` and has
    at most ``LARGEST_CACHE`` bytes; all else about it is the image's word.  Raises SundogError if
    neither the image's ldconfig nor the host's makes a cache in ``LDCONFIG_SECONDS``.  The
    children are reaped; a caller that hides them from its own command discards their SIGCHLD.
    """
    with Closing(topmost_mount()) as root:
        if not has_glibc(root):
            return None
    fault = b""
    # A PID namespace ends with its first process, so each program has a process that makes one.
    for host_program in (b"", *filter(is_static, HOST_PROGRAMS)):
        answer = answer_of_child(operations, folders, host_program)
        if answer[:1] == CACHE_ANSWER:
            return answer[1:]
        fault = answer[1:] or fault
        if answer[:1] == LATE_ANSWER:
            break
    reason, _, hint = fault.partition(ANSWER_HINT)
    raise SundogError(
        f"can't make {LINKER_CACHE.decode()} for the image: {printable(reason) or NO_PROGRAM}",
        printable(hint) or PROGRAM_HINT,
    )


def has_glibc(root: int) -> bool:
    """Tell whether the image in the directory ``root`` has a dynamic linker of glibc, not musl."""
    found = False
    for directory in LINKER_DIRECTORIES:
        for name in names_in(root, directory):
            if name.startswith(MUSL_LINKERS):
                return False
            found = found or name.startswith(GLIBC_LINKERS)
    return found


def answer_of_child(
    operations: "Sequence[Operation]", folders: "Sequence[bytes]", host_program: bytes
) -> bytes:
    """Return the ``confined_answer`` of a forked process."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = confined_answer(operations, folders, host_program)
            with open(theirs, "wb", closefd=False) as file:
                file.write(answer)
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        answer = pipe.read(LARGEST_CACHE + ERROR_SIZE)
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD
    return answer


def confined_answer(
    operations: "Sequence[Operation]", folders: "Sequence[bytes]", host_program: bytes
) -> bytes:
    """Run ``host_program``, or the image's if it is empty; return the cache, or why there is none.

    The answer begins with CACHE_ANSWER or ERROR_ANSWER.  Changes this process for good.
    """
    try:
        set_pdeathsig(SIGKILL)
        os.setsid()
        try:
            unshare(CLONE_NEWNS | CONFINED)
        except KernelError:
            unshare(CLONE_NEWNS)
        show_in_confinement(operations, host_program)
        set_dumpable(False)
        candidates = (HOST_PROGRAM_PLACE,) if host_program else IMAGE_PROGRAMS
        programs = [program for program in candidates if os.access(program, os.X_OK)]
        if not programs:
            return ERROR_ANSWER
        output = os.open(OUTPUT_PLACE, OPEN_DIRECTORY)
        said = run_confined([programs[0], *PROGRAM_OPTIONS, *folders])
        if said is None:
            return LATE_ANSWER + b"%b takes more than %d seconds" % (programs[0], LDCONFIG_SECONDS)
        cache = written_cache(output)
        if cache is not None:
            return CACHE_ANSWER + cache
        reason = said.strip().rpartition(b"\n")[2] or b"it made no cache"
        return ERROR_ANSWER + (host_program or programs[0]) + b": " + reason
    except SundogError as error:
        texts = [text.encode("utf-8", "backslashreplace") for text in (error.message, error.hint)]
        return ERROR_ANSWER + ANSWER_HINT.join(texts)
    except OSError as error:
        return ERROR_ANSWER + os.strerror(error.errno or 0).encode()


def show_in_confinement(operations: "Sequence[Operation]", host_program: bytes) -> None:
    """Make the image this process's root, with the ``operations`` and a directory for the output.

    The ``host_program``, unless it is empty, is there, too.
    """
    shown: list[Operation] = [*operations, TmpfsMount(OUTPUT_PLACE, CREATED, size=OUTPUT_SIZE)]
    if host_program:
        place = HOST_PROGRAM_PLACE
        shown.append(Bind(host_program, place, CREATED, writable=False, in_tmpfs=True))
    root = topmost_mount()
    for operation in shown:
        operation.acquire()
    # Nothing else of the host is needed; this namespace alone sees the tmpfs.
    mount_tmpfs(OUTPUT_PLACE, CONFINED_SCRATCH)
    scratch = os.open(OUTPUT_PLACE, OPEN_DIRECTORY)
    for operation in shown:
        operation.generate(scratch)
    change_root(root)
    for operation in shown:
        operation.attach()


def is_static(program: bytes) -> bool:
    """Tell whether ``program`` of the host is an ELF file that needs no dynamic linker."""
    try:
        with Closing(os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as fd:
            return not SharedObject(fd).interpreter
    except (OSError, ElfError):
        return False


def run_confined(command: list[bytes]) -> bytes | None:
    """Run a program of the image without privileges; return what it said, None if it is too slow.

    When this returns, nothing that it started is alive.
    """
    said, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            become_confined(command, theirs)
        finally:
            os._exit(1)
    os.close(theirs)
    ended = os.pidfd_open(child)
    waiting = poll()
    waiting.register(ended, POLLIN)
    in_time = waiting.poll(LDCONFIG_SECONDS * 1000)
    os.kill(child, SIGKILL)  # as PID 1 it takes all others with it
    os.waitpid(child, 0)
    try:
        text = os.read(said, ERROR_SIZE)
    except BlockingIOError:
        text = b""
    os.close(ended)
    os.close(said)
    if not in_time:
        return None
    return text


def become_confined(command: list[bytes], said: int) -> None:
    """Be the program's process: execute it; return if that fails."""
    set_pdeathsig(SIGKILL)
    for number in (SIGPIPE, SIGXFSZ):  # Python ignores them
        signal(number, SIG_DFL)
    for kind, most in LIMITS:
        setrlimit(kind, (most, most))
    # It reads nothing, so any descriptor does for its standard input.
    nothing = os.open(OUTPUT_PLACE, OPEN_DIRECTORY)
    for source, stream in ((nothing, STDIN_FILENO), (said, STDOUT_FILENO), (said, STDERR_FILENO)):
        os.dup2(source, stream)
    close_all_but((STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO))
    os.chdir(b"/")
    set_no_new_privs()
    drop_bounding_set()
    result = execve(command[0], command, PROGRAM_ENVIRONMENT)
    os.write(STDERR_FILENO, os.strerror(-result).encode())


def drop_bounding_set() -> None:
    """Let execve(2) give this process no capability, even if it is root: capabilities(7)."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, b"PR_CAPBSET_DROP", capability)
        except KernelError:
            return  # the kernel knows no more


def written_cache(directory: int) -> bytes | None:
    """Return the cache that a program wrote to ``directory``, and remove it; None if it did not.

    The program may have written anything: a file of another type or format is no cache.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with Closing(os.open(OUTPUT_NAME, flags, dir_fd=directory)) as fd:
            os.unlink(OUTPUT_NAME, dir_fd=directory)
            status = os.fstat(fd)
            if status.st_mode & S_IFMT != S_IFREG or status.st_size > LARGEST_CACHE:
                return None
            with open(fd, "rb", closefd=False) as file:
                cache = file.read(LARGEST_CACHE)
    except OSError:
        return None
    return cache if cache.startswith(CACHE_MAGICS) else None
