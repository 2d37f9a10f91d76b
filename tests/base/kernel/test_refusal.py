"""The messages when the kernel or the site refuses a call: in real situations where possible."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.libc import kernel_error
from sundog.base.kernel.mounts import (
    AT_FDCWD,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_REC,
    mount,
    mount_setattr,
)
from sundog.base.kernel.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    unshare,
    write_id_maps,
)
from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import install_seccomp_filter, set_no_new_privs
from sundog.base.kernel.refusal import explain, file_system_of
from sundog.errors import KernelError
from sundog.runtime.emulation.bpf import (
    DATA_NR,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    assemble,
    compare,
    label,
    load,
    verdict,
)

from . import libseccomp
from .child import in_child, in_namespaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ELSEWHERE = "use a directory on another file system (storage: --storage or $CH_IMAGE_STORAGE)"
FORBIDDEN = (
    "a security module, a container around this one or a chroot forbids it; "
    "ask the administrator whether users may have user namespaces"
)


def told(function: Callable[[], object], call: str = "", path: bytes = b"") -> tuple[str, str]:
    """Return the message and hint of the error in ``function``; an OSError is one of ``call``."""
    try:
        function()
    except KernelError as error:
        return error.message, explain(error.call, error.errno, os.fsencode(error.subject))
    except OSError as error:
        number = error.errno or 0
        return kernel_error(call, path, number).message, explain(call, number, path)
    raise AssertionError("not refused")


def unshare_user() -> None:
    unshare(CLONE_NEWUSER | CLONE_NEWNS)


# Real situations.


def test_user_namespaces_switched_off() -> None:
    def attempt() -> tuple[str, str]:
        with open("/proc/sys/user/max_user_namespaces", "w") as file:
            file.write("0")
        return told(unshare_user)

    hint = (
        "user namespaces are switched off here: user.max_user_namespaces is 0; "
        "ask the administrator for: sysctl -w user.max_user_namespaces=10000"
    )
    message = "can't unshare user+mount namespaces: No space left on device"
    assert in_namespaces(attempt) == (message, hint)


def test_user_namespaces_at_the_limit_of_the_container_around() -> None:
    def attempt() -> tuple[str, str]:
        with open("/proc/sys/user/max_user_namespaces", "w") as file:
            file.write("1")
        unshare_user()
        return told(unshare_user)

    hint = (
        "a limit of namespaces is reached, here or around this container (sysctl user.max_*); "
        "end the processes that hold them, or nest less deeply"
    )
    message = "can't unshare user+mount namespaces: No space left on device"
    assert in_namespaces(attempt) == (message, hint)


def deny(call: str, error: int) -> None:
    """Install a seccomp profile that answers ``call`` with ``error``, like Docker's profile."""
    number = libseccomp.number(call, process_abi())
    assert number is not None
    set_no_new_privs()
    install_seccomp_filter(
        assemble(
            [
                load(DATA_NR),
                compare(number, "deny"),
                verdict(SECCOMP_RET_ALLOW),
                label("deny"),
                verdict(SECCOMP_RET_ERRNO | error),
            ]
        )
    )


@pytest.mark.parametrize("call", ["unshare", "mount"])
def test_seccomp_profile(call: str) -> None:
    def attempt() -> tuple[str, str]:
        deny(call, errno.EPERM)
        if call == "unshare":
            return told(unshare_user)
        return told(lambda: mount(b"none", b"/", b"tmpfs", 0, None))

    action = "mount tmpfs on /" if call == "mount" else "unshare user+mount namespaces"
    hint = (
        f"a seccomp profile is in force here and seems to forbid {call}; if this runs in a "
        "container: start that container with --security-opt seccomp=unconfined"
    )
    assert in_namespaces(attempt) == (f"can't {action}: Operation not permitted", hint)


def test_seccomp_profile_that_hides_a_call() -> None:
    def attempt() -> tuple[str, str]:
        deny("mount_setattr", errno.ENOSYS)
        return told(lambda: mount_setattr(AT_FDCWD, b"/", 0, MOUNT_ATTR_RDONLY))

    assert in_namespaces(attempt) == (
        "can't mount_setattr /: Function not implemented",
        "a seccomp profile hides mount_setattr, or the kernel was built without it",
    )


CHROOT = (
    "this is inside a chroot, where Linux allows no user namespaces; start outside of it, "
    "or enter its tree with pivot_root(2) instead, as bwrap does"
)


def test_inside_a_chroot(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()

    def attempt() -> tuple[str, str]:
        mount(b"/proc", os.fsencode(tmp_path / "proc"), None, MS_BIND | MS_REC, None)
        os.chroot(tmp_path)
        return told(unshare_user)

    message = "can't unshare user+mount namespaces: Operation not permitted"
    assert in_namespaces(attempt) == (message, CHROOT)


def test_inside_a_chroot_into_a_mount_point(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)

    def chrooted() -> str:
        os.chroot(root)
        return told(unshare_user)[1]

    def process_1() -> str:
        mount(b"none", root, b"tmpfs", 0, None)
        os.mkdir(root + b"/proc")
        mount(b"proc", root + b"/proc", b"proc", 0, None)
        return in_child(chrooted)

    def attempt() -> str:
        unshare(CLONE_NEWPID)
        return in_child(process_1)

    assert in_namespaces(attempt) == CHROOT


def test_inside_a_chroot_in_a_mount_namespace_of_its_own(tmp_path: Path) -> None:
    """Process 1 does not see where the chroot is.  The process that made the mount does."""
    root = os.fsencode(tmp_path)

    def chrooted() -> str:
        os.chroot(root)
        return told(unshare_user)[1]

    def attempt() -> str:
        mount(b"none", root, b"tmpfs", 0, None)
        os.mkdir(root + b"/proc")
        mount(b"/proc", root + b"/proc", None, MS_BIND | MS_REC, None)
        return in_child(chrooted)

    assert in_namespaces(attempt) == CHROOT


def test_inside_a_chroot_without_proc(tmp_path: Path) -> None:
    def attempt() -> tuple[str, str]:
        os.chroot(tmp_path)
        return told(unshare_user)

    assert in_namespaces(attempt)[1] == FORBIDDEN


def test_proc_is_not_mounted(tmp_path: Path) -> None:
    def attempt() -> tuple[str, str]:
        os.chroot(tmp_path)
        return told(lambda: write_id_maps(0, 0, 0, 0))

    assert in_namespaces(attempt) == (
        "can't write /proc/self/uid_map: No such file or directory",
        "/proc is not mounted here",
    )


def test_threads() -> None:
    def attempt() -> tuple[str, str]:
        done = threading.Event()
        threading.Thread(target=done.wait).start()
        try:
            return told(unshare_user)
        finally:
            done.set()

    assert in_child(attempt) == (
        "can't unshare user+mount namespaces: Invalid argument",
        "a process with threads cannot enter a user namespace; please report this bug",
    )


def test_unknown_file_system() -> None:
    assert in_namespaces(lambda: told(lambda: mount(b"none", b"/tmp", b"nosuchfs", 0, None))) == (
        "can't mount nosuchfs on /tmp: No such device",
        "the kernel lacks this file system; ask the administrator to load its module",
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return where a test mounts its storage directory; the path has a blank and a backslash."""
    path = tmp_path / "a b\\c"
    path.mkdir()
    return path


def test_read_only_store(store: Path) -> None:
    layers = store / "layers/new"

    def attempt() -> tuple[str, str]:
        mount(b"none", os.fsencode(store), b"tmpfs", 0, None)
        mount_setattr(AT_FDCWD, os.fsencode(store), 0, MOUNT_ATTR_RDONLY)
        return told(lambda: os.mkdir(store / "layers"), "mkdir", os.fsencode(layers))

    assert in_namespaces(attempt) == (
        f"can't mkdir {layers}: Read-only file system",
        f"tmpfs at {store} is mounted read-only; {ELSEWHERE}",
    )


def test_file_system_is_found_by_the_mount_that_shows(store: Path) -> None:
    assert file_system_of(b"/proc/self/status") == "proc at /proc"
    assert " at /proc" not in file_system_of(b"/procession")

    def over_another() -> str:
        mount(b"none", os.fsencode(store), b"tmpfs", 0, None)
        mount(b"/proc", os.fsencode(store), None, MS_BIND | MS_REC, None)
        return file_system_of(os.fsencode(store / "self"))

    assert in_namespaces(over_another) == f"proc at {store}"


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_full_store(store: Path) -> None:
    blob = store / "blob"

    def attempt() -> tuple[str, str]:
        mount(b"none", os.fsencode(store), b"tmpfs", 0, b"size=1m")
        return told(lambda: fill(blob), "write", os.fsencode(blob))

    hint = f"no space is left on tmpfs at {store}, 1 MiB in all; make room there, or {ELSEWHERE}"
    assert in_namespaces(attempt) == (f"can't write {blob}: No space left on device", hint)


def test_store_without_inodes(store: Path) -> None:
    def attempt() -> tuple[str, str]:
        mount(b"none", os.fsencode(store), b"tmpfs", 0, b"size=1m,nr_inodes=2")
        os.mkdir(store / "one")
        return told(lambda: os.mkdir(store / "two"), "mkdir", os.fsencode(store / "two"))

    hint = f"no inode is left on tmpfs at {store}, 1 MiB in all; make room there, or {ELSEWHERE}"
    assert in_namespaces(attempt) == (f"can't mkdir {store}/two: No space left on device", hint)


def test_noexec_store(store: Path) -> None:
    program = os.fsencode(store / "program")

    def attempt() -> tuple[str, str]:
        mount(b"none", os.fsencode(store), b"tmpfs", 0, None)
        shutil.copy("/bin/true", os.fsdecode(program))
        assert in_child(lambda: os.spawnv(os.P_WAIT, program, [program])) == 0
        mount_setattr(AT_FDCWD, os.fsencode(store), 0, MOUNT_ATTR_NOEXEC)
        return told(lambda: os.execv(program, [program]), "execve", program)

    assert in_namespaces(attempt) == (
        f"can't execve {store}/program: Permission denied",
        f"tmpfs at {store} is mounted noexec: no program runs from there; {ELSEWHERE}",
    )


def test_program_without_permission_is_not_explained(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch(0o644)
    assert explain("execve", errno.EACCES, os.fsencode(program)) == ""


def refused(path: Path | str) -> tuple[str, str]:
    return told(lambda: os.listdir(path), "open", os.fsencode(path))


def test_directory_that_is_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "file").touch()
    closed.chmod(0)
    for path in (closed / "file", closed / "deeper" / "file", closed):
        assert refused(path) == (
            f"can't open {path}: Permission denied",
            f"{closed} is yours and has mode 0000",
        )
    closed.chmod(0o700)


def test_part_of_a_path_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "a" / "b", tmp_path / "a", "a/b/c", "./a"):
        assert refused(path)[1] == f"there is no {tmp_path}/a"


# Situations that a test can only imitate, with the files of proc(5) of such a system.


def explained(files: dict[str, str], root: Path, call: str, subject: bytes, number: int) -> str:
    """Return the hint if proc(5) has the contents of ``files``, and there is no seccomp filter."""
    for name, text in {"self/status": "Threads:\t1\nSeccomp:\t0\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return explain(call, number, subject, os.fsencode(root))


ROOT_MOUNT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"


def test_reserved_to_root(tmp_path: Path) -> None:
    files = {"sys/kernel/unprivileged_userns_clone": "0\n", "self/mountinfo": ROOT_MOUNT}
    assert explained(files, tmp_path, "unshare", b"user namespace", errno.EPERM) == (
        "user namespaces are reserved to root here: kernel.unprivileged_userns_clone is 0; "
        "ask the administrator for: sysctl -w kernel.unprivileged_userns_clone=1"
    )


@pytest.mark.parametrize(
    ("call", "subject", "number"),
    [
        ("unshare", b"user+mount namespaces", errno.EPERM),
        ("write", b"/proc/self/uid_map", errno.EPERM),
        ("mount", b"/mnt", errno.EACCES),
    ],
)
def test_apparmor_switch(tmp_path: Path, call: str, subject: bytes, number: int) -> None:
    files = {
        "sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
        "sys/kernel/unprivileged_userns_clone": "1\n",
        "self/mountinfo": ROOT_MOUNT,
        "self/attr/current": "unprivileged_userns (enforce)\n",
    }
    assert explained(files, tmp_path, call, subject, number) == (
        "AppArmor restricts user namespaces here, and has no profile that allows them to Sundog: "
        "kernel.apparmor_restrict_unprivileged_userns is 1; ask the administrator for: ch-checkns "
        "--apparmor-profile >/etc/apparmor.d/sundog && apparmor_parser -r /etc/apparmor.d/sundog"
    )


def test_apparmor_profile(tmp_path: Path) -> None:
    files = {
        "sys/kernel/apparmor_restrict_unprivileged_userns": "0\n",
        "self/attr/current": "docker-default (enforce)\n",
    }
    assert explained(files, tmp_path, "mount", b"/mnt", errno.EACCES) == (
        "the AppArmor profile docker-default is in force here and seems to forbid mount; if "
        "this runs in a container: start that container with --security-opt apparmor=unconfined"
    )


def test_switches_that_are_off_are_not_blamed(tmp_path: Path) -> None:
    files = {
        "sys/kernel/apparmor_restrict_unprivileged_userns": "0\n",
        "sys/kernel/unprivileged_userns_clone": "1\n",
        "self/attr/current": "unconfined\n",
        "self/mountinfo": ROOT_MOUNT,
        "1/mountinfo": ROOT_MOUNT,
    }
    hint = explained(files, tmp_path, "unshare", b"user namespace", errno.EPERM)
    assert hint == FORBIDDEN


def test_namespaces_of_another_kind_switched_off(tmp_path: Path) -> None:
    files = {"sys/user/max_user_namespaces": "9\n", "sys/user/max_mnt_namespaces": "0\n"}
    hint = explained(files, tmp_path, "unshare", b"user+mount namespaces", errno.ENOSPC)
    assert hint == (
        "mount namespaces are switched off here: user.max_mnt_namespaces is 0; "
        "ask the administrator for: sysctl -w user.max_mnt_namespaces=10000"
    )


@pytest.mark.parametrize("release", ["4.18.0-553.el8_10.x86_64", "5.10.0-28-amd64", "5.11"])
def test_old_kernel(tmp_path: Path, release: str) -> None:
    files = {"sys/kernel/osrelease": f"{release}\n"}
    assert explained(files, tmp_path, "mount_setattr", b"/", errno.ENOSYS) == (
        f"Linux 5.12 or newer is needed; this is {release}"
    )


@pytest.mark.parametrize("release", ["5.12.0", "5.14.0-427.el9.x86_64", "6.1.0-18-amd64", "10.0"])
def test_new_kernel_is_not_called_old(tmp_path: Path, release: str) -> None:
    files = {"sys/kernel/osrelease": f"{release}\n"}
    assert explained(files, tmp_path, "mount_setattr", b"/", errno.ENOSYS) == (
        "a seccomp profile hides mount_setattr, or the kernel was built without it"
    )


def test_root_is_initramfs(tmp_path: Path) -> None:
    files = {"self/mountinfo": "1 1 0:2 / / rw - rootfs none rw\n"}
    assert explained(files, tmp_path, "pivot_root", b".", errno.EINVAL) == (
        "this node runs from its initial ramfs, which pivot_root(2) cannot leave; "
        "ask the administrator to let its boot do switch_root to a tmpfs"
    )


def test_mount_limit(tmp_path: Path) -> None:
    files = {"sys/fs/mount-max": "100000\n"}
    assert explained(files, tmp_path, "mount", b"/mnt", errno.ENOSPC) == (
        "this is not about disk space: the limit of mounts is reached (fs.mount-max is 100000)"
    )


def test_no_seccomp_filters(tmp_path: Path) -> None:
    assert explained({}, tmp_path, "prctl", b"PR_SET_SECCOMP", errno.EINVAL) == (
        "the kernel was built without CONFIG_SECCOMP_FILTER; do without: "
        "ch-run without --seccomp, ch-image build --force=none"
    )


def test_over_quota(tmp_path: Path) -> None:
    root = tmp_path / "h\u00e5\u0085ome"  # str.splitlines splits at U+0085
    root.mkdir()
    mounts = f"{ROOT_MOUNT}30 27 0:40 / {root} rw - nfs server:/home rw\n"
    hint = explained(
        {"self/mountinfo": mounts}, tmp_path, "write", os.fsencode(root / "no/such"), errno.EDQUOT
    )
    assert hint == (
        f"your quota on nfs at {tmp_path}/h\u00e5\\x85ome is used up "
        f"(quota -s shows it); {ELSEWHERE}"
    )


def test_what_is_not_known_is_not_explained(tmp_path: Path) -> None:
    assert explained({}, tmp_path, "umount2", b"/mnt", errno.EBUSY) == ""


def test_a_missing_proc_is_no_error(tmp_path: Path) -> None:
    for number in errno.errorcode:
        explain("unshare", number, b"user namespace", os.fsencode(tmp_path / "none"))


def test_limits_of_the_user(tmp_path: Path) -> None:
    processes, files = os.sysconf("SC_CHILD_MAX"), os.sysconf("SC_OPEN_MAX")
    hint = explained({}, tmp_path, "fork", b"", errno.EAGAIN)
    assert f"you may have {processes if processes >= 0 else 'any number of'} processes" in hint
    # With EAGAIN openat2(2) says that a file on the path was renamed meanwhile.
    assert explained({}, tmp_path, "openat2", b"/a", errno.EAGAIN) == ""
    assert f"{files} files open here" in explained({}, tmp_path, "open", b"/a", errno.EMFILE)
    assert "fs.file-max is unknown" in explained({}, tmp_path, "pipe", b"", errno.ENFILE)
    state = {"sys/fs/file-max": "17\n"}
    assert "fs.file-max is 17" in explained(state, tmp_path, "pipe", b"", errno.ENFILE)
    assert "different file systems" in explained({}, tmp_path, "renameat2", b"/a", errno.EXDEV)
