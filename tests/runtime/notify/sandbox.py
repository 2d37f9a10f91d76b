"""Run a command in its own container: the test bench of the notify engine.

``python -m tests.runtime.notify.sandbox --root DIR[:OWNERS] -- COMMAND...``.  The program does what
the launcher does for users, as far as these tests need it.  Modes: ``notify``, ``seccomp``,
``none``.

Without ``--upper`` there is one root.  The command writes to that root, and the program updates the
manifest OWNERS.  With ``--upper`` the roots are the lower layers of an overlay, topmost first.  The
program then makes a layer: the tree ``UPPER/u`` and its manifest ``UPPER/owners``.
"""

import argparse
import errno
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from sundog.base.kernel.mounts import (
    MNT_DETACH,
    MS_BIND,
    MS_PRIVATE,
    MS_REC,
    mount,
    pivot_root,
    umount2,
)
from sundog.base.kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    setns,
    unshare,
    write_id_maps,
)
from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import set_no_new_privs, set_pdeathsig
from sundog.base.record.links import read_links
from sundog.base.record.owners import pack_owners, read_owners
from sundog.runtime.container.fast_path import (
    SWITCH,
    SWITCHED_ON,
    LibraryMount,
    wanted_library,
)
from sundog.runtime.container.variables import Environment
from sundog.runtime.emulation.filter import install_fake_root
from sundog.runtime.emulation.notify import supervisor as supervisor_module
from sundog.runtime.emulation.notify.identity.capabilities import all_capabilities
from sundog.runtime.emulation.notify.identity.credentials import superuser
from sundog.runtime.emulation.notify.identity.tags import Tags
from sundog.runtime.emulation.notify.seccomp import listener as listener_module
from sundog.runtime.emulation.notify.seccomp.fast_path import LIBRARY_PLACE, PAGE_PLACE
from sundog.runtime.emulation.notify.seccomp.listener import (
    Listener,
    install_listener,
    receive_descriptors,
    send_descriptors,
)
from sundog.runtime.emulation.notify.seccomp.program import notify_program
from sundog.runtime.emulation.notify.state import lower as lower_module
from sundog.runtime.emulation.notify.state import records as records_module
from sundog.runtime.emulation.notify.state.low_ports import LowPorts
from sundog.runtime.emulation.notify.state.lower import LowerRecords, OpenedLayer, load_lower
from sundog.runtime.emulation.notify.state.page import SharedPage
from sundog.runtime.emulation.notify.state.persist import (
    collect_manifest,
)
from sundog.runtime.emulation.notify.state.pins import Pins
from sundog.runtime.emulation.notify.state.state import State
from sundog.runtime.emulation.notify.supervisor import Supervisor
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS
from sundog.runtime.supervision.supervision import hold_answering

ABI = NOTIFY_ABIS[process_abi()]
HOST_FILES = ("etc/resolv.conf", "etc/hosts")


class Interrupted:
    """An ioctl(2) that fails with EINTR, and does nothing, in every second call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, fd: int, request: int, argument: bytes) -> object:
        self.calls += 1
        if self.calls % 2:
            raise InterruptedError(errno.EINTR, "injected")
        return fcntl.ioctl(fd, request, argument)


class Layer:
    """A tree and its manifest.  The manifest may be missing."""

    def __init__(self, text: str) -> None:
        tree, _, owners = text.partition(":")
        self.tree = Path(tree).resolve()
        self.owners = Path(owners).resolve() if owners else None

    def recorded(self) -> OpenedLayer:
        """Return the layer in the form that the engine takes."""
        there = self.owners is not None and self.owners.exists()
        manifest = read_owners(os.fsencode(str(self.owners))) if there else {}
        links = read_links(os.fsencode(self.owners.with_name("links"))) if self.owners else None
        return OpenedLayer(os.open(self.tree, os.O_RDONLY), manifest, links)


class Recorded:
    """The records of the layers, topmost first."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.layers = list(options.root)
        if options.upper:
            self.layers.insert(0, Layer(f"{options.upper}/u:{options.upper}/owners"))
        recorded = [layer.recorded() for layer in self.layers]
        self.changes = recorded[0].tree
        self.is_stable = options.upper is not None
        self.lower = LowerRecords(recorded, is_stable=self.is_stable, may_change=True)


def build_root(roots: list[Path], upper: Path | None, library: LibraryMount | None) -> None:
    """Mount the file systems of a container and change the root to it; then show the library."""
    root = roots[0]
    mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    if root == Path("/"):
        mount(b"proc", b"/proc", b"proc", 0, None)
        return
    if upper is None:
        mount(os.fsencode(root), os.fsencode(root), None, MS_BIND | MS_REC, None)
    else:
        lowers = ":".join(map(str, roots))
        data = f"lowerdir={lowers},upperdir={upper}/u,workdir={upper}/w,userxattr"
        root = upper / "m"
        mount(b"overlay", os.fsencode(root), b"overlay", 0, data.encode())
    for name in ("dev", "sys"):
        (root / name).mkdir(exist_ok=True)
        mount(f"/{name}".encode(), os.fsencode(root / name), None, MS_BIND | MS_REC, None)
    (root / "proc").mkdir(exist_ok=True)
    mount(b"proc", os.fsencode(root / "proc"), b"proc", 0, None)
    for name in HOST_FILES:
        if (root / "etc").is_dir():
            (root / name).touch()
            mount(f"/{name}".encode(), os.fsencode(root / name), None, MS_BIND, None)
    if library is not None:
        mount(b"scratch", os.fsencode(root / "proc"), b"tmpfs", 0, None)
        library.generate(os.open(root / "proc", os.O_PATH))
        umount2(os.fsencode(root / "proc"), MNT_DETACH)
    os.chdir(root)
    pivot_root(b".", b".")
    umount2(b".", MNT_DETACH)
    os.chdir("/")
    if library is not None:
        library.attach()


def container(options: argparse.Namespace, recorded: Recorded, channel: socket.socket) -> int:
    """Be the parent of the container's init; return the status of the init."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC)
    write_id_maps(0, 0, uid, gid)
    init = os.fork()
    if init:
        channel.close()
        return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])
    set_pdeathsig(signal.SIGKILL)
    library = None
    if options.fast and options.root[0].tree != Path("/"):
        found = wanted_library(SWITCHED_ON, strict=options.strict)
        library = LibraryMount(found, b"/run") if found else None
    build_root([layer.tree for layer in options.root], options.upper, library)
    command = os.fork()
    if command == 0:
        start(options, library, channel)
    channel.close()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def start(
    options: argparse.Namespace, library: LibraryMount | None, channel: socket.socket
) -> None:
    """Install the filter and become the command."""
    try:
        set_no_new_privs()
        variables = Environment.of(
            {os.fsencode(name): os.fsencode(value) for name, value in environment().items()}
        )
        if library is not None:
            library.preload([os.fsencode(word) for word in options.command], variables)
        if options.mode == "notify":
            has_page = library is not None
            program = notify_program(ABI, strict=options.strict, has_ports=True, fast_path=has_page)
            listener = install_listener(program, ABI.numbers["seccomp"])
            passed = (listener,) if library is None else (listener, library.page)
            send_descriptors(channel.fileno(), passed)
            for fd in passed:
                os.close(fd)
        elif options.mode == "seccomp":
            install_fake_root()
        channel.close()
        for signum in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(signum, signal.SIG_DFL)
        strings = dict(text.split(b"=", 1) for text in variables.strings())
        os.execvpe(options.command[0], options.command, strings)
    except BaseException as error:
        os.write(2, f"sandbox: {error!r}\n".encode())
    os._exit(127)


def environment() -> dict[str, str]:
    """Return the environment of the command."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
    } | {name: os.environ[name] for name in ("TERM", "ITERATIONS") if name in os.environ}


def main() -> int:
    """Run the command that the arguments name; return an exit status."""
    hold_answering()
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Layer, required=True, action="append")
    parser.add_argument("--upper", type=Path)
    parser.add_argument("--mode", default="notify")
    parser.add_argument("--stats", action="store_true")
    parser.add_argument("--strict", action="store_true", help="notify every open, too")
    parser.add_argument(
        "--fast",
        action=argparse.BooleanOptionalAction,
        default=os.environ.get(SWITCH.decode()) == SWITCHED_ON.decode(),
        help="give programs the fast path",
    )
    parser.add_argument(
        "--fault", action="store_true", help="fail at whatever asks who a process is"
    )
    parser.add_argument(
        "--interrupt", action="store_true", help="let a signal interrupt every other ioctl"
    )
    parser.add_argument("--unwatched", type=int, help="so many records are not watched")
    parser.add_argument("--few", type=int, help="with more records, files are not held open")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.upper:
        options.upper = options.upper.resolve()
    if options.upper:
        for name in ("u", "w", "m"):
            (options.upper / name).mkdir(exist_ok=True)
    if options.few is not None:
        vars(lower_module)["FEW"] = options.few
    recorded = Recorded(options)
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        try:
            os._exit(container(options, recorded, theirs) & 255)
        except BaseException as error:
            os.write(2, f"sandbox: {error!r}\n".encode())
        os._exit(126)
    theirs.close()
    incidents = 0
    if options.mode == "notify":
        received = receive_descriptors(ours.fileno())
        if received:
            incidents = supervise(options, recorded, received, child, proc)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 125 if incidents else status


def injected(thread: int) -> NoReturn:
    """Raise an exception that no handler expects."""
    raise RuntimeError("injected")


def resident() -> int:
    """Return the size of this process's memory; the working directory is /proc."""
    with open("self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def state_of(received: list[int], *, strict: bool) -> State:
    """Return the state of a supervisor of the listener, and of the fast path if there is a page."""
    listener, *pages = received
    page = SharedPage(pages[0], PAGE_PLACE - LIBRARY_PLACE) if pages else None
    tags = Tags(superuser(all_capabilities()))
    return State(ABI, Listener(listener), tags, low_ports=LowPorts(), strict=strict, page=page)


def supervise(
    options: argparse.Namespace, recorded: Recorded, received: list[int], child: int, proc: int
) -> int:
    """Be the supervisor; return the number of incidents.

    ``received`` are the listener, and perhaps the page of the fast path.
    """
    output, owners = -1, recorded.layers[0].owners
    if owners is not None:
        output = os.open(owners, os.O_CREAT | os.O_WRONLY)
    pidfd = os.pidfd_open(child)
    setns(pidfd, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC)
    os.close(pidfd)
    os.fchdir(proc)
    state = state_of(received, strict=options.strict)
    if options.fault:
        state.tags.credentials = injected  # type: ignore[method-assign]
    if options.interrupt:
        for module in (listener_module, supervisor_module):
            vars(module)["ioctl"] = Interrupted()
    if recorded.is_stable:
        state.records.pins = Pins(recorded.changes)
    if not recorded.lower.is_empty():
        load_lower(recorded.lower, state)
    supervisor = Supervisor(state, lambda line: print(line, file=sys.stderr))
    if options.unwatched is not None:
        vars(records_module)["UNWATCHED"] = options.unwatched
    before = resident()
    statistics = supervisor.serve()
    held = len(os.listdir("self/fd"))
    if options.stats:
        print(f"notify: grew by {resident() - before} bytes", file=sys.stderr)
    if output >= 0:
        started = time.monotonic()
        packed = pack_owners(collect_manifest(state, recorded.changes))
        os.ftruncate(output, 0)
        os.write(output, packed)
        if options.stats:
            took = time.monotonic() - started
            print(f"notify: {len(packed)} bytes of manifest, {took:.2f} s", file=sys.stderr)
    if options.stats:
        print(*statistics.lines(), sep="\n", file=sys.stderr)
        for refusal in state.refusals.told():
            print(f"notify: the kernel refused {refusal}", file=sys.stderr)
        print(f"notify: {len(state.records)} records", file=sys.stderr)
        print(f"notify: {len(state.tags.table)} identities", file=sys.stderr)
        print(f"notify: {held} descriptors", file=sys.stderr)
    return statistics.incidents


if __name__ == "__main__":
    sys.exit(main())
