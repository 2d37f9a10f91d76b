"""Run a command in a container of its own: the notify engine's test bench.

``python -m tests.notify.sandbox --root DIR -- COMMAND...``.  What the launcher does for users, with
nothing that these tests don't need.  Modes: ``notify``, ``seccomp``, ``none``.
"""

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path

from sundog.emulation.filter import install_fake_root
from sundog.emulation.notify.abi import NOTIFY_ABIS
from sundog.emulation.notify.capabilities import all_capabilities
from sundog.emulation.notify.credentials import superuser
from sundog.emulation.notify.listener import (
    Listener,
    install_listener,
    receive_descriptor,
    send_descriptor,
)
from sundog.emulation.notify.persist import collect_manifest, load_records, merged_manifest
from sundog.emulation.notify.program import notify_program
from sundog.emulation.notify.state import State
from sundog.emulation.notify.supervisor import Supervisor
from sundog.kernel.mounts import (
    MNT_DETACH,
    MS_BIND,
    MS_PRIVATE,
    MS_REC,
    mount,
    pivot_root,
    umount2,
)
from sundog.kernel.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    setns,
    unshare,
    write_id_maps,
)
from sundog.kernel.numbers import process_abi
from sundog.kernel.process import set_no_new_privs, set_pdeathsig
from sundog.record.owners import pack_owners, read_owners

ABI = NOTIFY_ABIS[process_abi()]
HOST_FILES = ("etc/resolv.conf", "etc/hosts")


def build_root(root: Path, upper: Path | None) -> None:
    """Mount what a container needs below ``root`` and make it the root directory."""
    mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    if root == Path("/"):
        mount(b"proc", b"/proc", b"proc", 0, None)
        return
    if upper is None:
        mount(os.fsencode(root), os.fsencode(root), None, MS_BIND | MS_REC, None)
    else:
        for name in ("u", "w", "m"):
            (upper / name).mkdir(exist_ok=True)
        data = f"lowerdir={root},upperdir={upper}/u,workdir={upper}/w,userxattr"
        root = upper / "m"
        mount(b"overlay", os.fsencode(root), b"overlay", 0, data.encode())
    for name in ("dev", "sys"):
        (root / name).mkdir(exist_ok=True)
        mount(f"/{name}".encode(), os.fsencode(root / name), None, MS_BIND | MS_REC, None)
    (root / "proc").mkdir(exist_ok=True)
    mount(b"proc", os.fsencode(root / "proc"), b"proc", 0, None)
    for name in HOST_FILES:
        if (root / name).is_file():
            mount(f"/{name}".encode(), os.fsencode(root / name), None, MS_BIND, None)
    os.chdir(root)
    pivot_root(b".", b".")
    umount2(b".", MNT_DETACH)
    os.chdir("/")


def container(options: argparse.Namespace, channel: socket.socket) -> int:
    """Be the parent of the container's init: return its status."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
    write_id_maps(0, 0, uid, gid)
    init = os.fork()
    if init:
        channel.close()
        return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])
    set_pdeathsig(signal.SIGKILL)
    build_root(options.root, options.upper)
    command = os.fork()
    if command == 0:
        start(options, channel)
    channel.close()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def start(options: argparse.Namespace, channel: socket.socket) -> None:
    """Put on the filter and become the command."""
    try:
        set_no_new_privs()
        if options.mode == "notify":
            listener = install_listener(notify_program(ABI), ABI.numbers["seccomp"])
            send_descriptor(channel.fileno(), listener)
            os.close(listener)
        elif options.mode == "seccomp":
            install_fake_root()
        channel.close()
        for signum in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(signum, signal.SIG_DFL)
        os.execvpe(options.command[0], options.command, environment())
    except BaseException as error:
        os.write(2, f"sandbox: {error!r}\n".encode())
    os._exit(127)


def environment() -> dict[str, str]:
    """Return what the command gets."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
    } | {name: os.environ[name] for name in ("TERM", "ITERATIONS") if name in os.environ}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--upper", type=Path)
    parser.add_argument("--mode", default="notify")
    parser.add_argument("--stats", action="store_true")
    parser.add_argument("--owners", type=Path, help="manifest of the root directory")
    parser.add_argument("--upper-owners", type=Path, help="manifest of the upper directory")
    parser.add_argument("--save", type=Path, help="where to put the manifest of what was changed")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    options.root = options.root.resolve()
    if options.upper:
        options.upper = options.upper.resolve()
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        try:
            os._exit(container(options, theirs) & 255)
        except BaseException as error:
            os.write(2, f"sandbox: {error!r}\n".encode())
        os._exit(126)
    theirs.close()
    incidents = 0
    if options.mode == "notify":
        listener = receive_descriptor(ours.fileno())
        if listener >= 0:
            incidents = supervise(options, listener, child, proc)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 125 if incidents else status


def supervise(options: argparse.Namespace, listener: int, child: int, proc: int) -> int:
    """Be the supervisor; return the number of incidents."""
    capabilities = all_capabilities()
    lower = os.open(options.root, os.O_RDONLY)
    layers = [(lower, read_owners(os.fsencode(options.owners)))] if options.owners else []
    tree = os.open(options.upper / "u", os.O_RDONLY) if options.upper else lower
    if options.upper_owners:
        layers.insert(0, (tree, read_owners(os.fsencode(options.upper_owners))))
    manifest = merged_manifest(layers)
    output = os.open(options.save, os.O_CREAT | os.O_WRONLY | os.O_TRUNC) if options.save else -1
    pidfd = os.pidfd_open(child)
    setns(pidfd, CLONE_NEWUSER | CLONE_NEWNS)
    os.close(pidfd)
    os.fchdir(proc)
    state = State(ABI, Listener(listener), superuser(capabilities))
    if manifest:
        load_records(state, manifest, is_stable=options.upper is not None)
    supervisor = Supervisor(state, lambda line: print(line, file=sys.stderr))
    statistics = supervisor.serve()
    if options.save:
        started = time.monotonic()
        packed = pack_owners(collect_manifest(state, tree))
        os.write(output, packed)
        if options.stats:
            took = time.monotonic() - started
            print(f"notify: {len(packed)} bytes of manifest, {took:.2f} s", file=sys.stderr)
    if options.stats:
        print(
            *statistics.lines(), f"notify: {len(state.records)} records", sep="\n", file=sys.stderr
        )
    return statistics.incidents


if __name__ == "__main__":
    sys.exit(main())
