"""Real programs as mock root: packages, archives, file systems, other roots and containers."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import run_program, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.fakeroot.conftest import MockRoot

BUSYBOX = "/bin/busybox"

RULES = """\
#!/usr/bin/make -f
clean:
\trm -rf debian/hello debian/files debian/substvars
build binary-arch:
binary-indep:
\tmkdir -p debian/hello/DEBIAN debian/hello/usr/games debian/hello/var/games
\techo score >debian/hello/var/games/scores
\tcp /bin/true debian/hello/usr/games/hello
\tchown root:games debian/hello/usr/games/hello debian/hello/var/games
\tchmod 2755 debian/hello/usr/games/hello
\tchown games:games debian/hello/var/games/scores
\tchmod 2775 debian/hello/var/games
\tmknod debian/hello/var/games/null c 1 3
\tdpkg-gencontrol -Pdebian/hello
\tdpkg-deb --build debian/hello ..
binary: binary-indep binary-arch
.PHONY: clean build binary binary-arch binary-indep
"""
CONTROL = """\
Source: hello
Section: games
Priority: optional
Maintainer: A B <a@example.org>
Standards-Version: 4.7.0
Rules-Requires-Root: binary-targets

Package: hello
Architecture: all
Description: says hello
"""
CHANGELOG = """\
hello (1.0) unstable; urgency=low

  * First.

 -- A B <a@example.org>  Thu, 01 Jan 2026 00:00:00 +0000
"""


def test_dpkg_buildpackage(tmp_path: Path) -> None:
    debian = tmp_path / "hello-1.0" / "debian"
    (debian / "source").mkdir(parents=True)
    (debian / "source" / "format").write_text("3.0 (native)\n")
    (debian / "control").write_text(CONTROL)
    (debian / "changelog").write_text(CHANGELOG)
    (debian / "rules").write_text(RULES)
    (debian / "rules").chmod(0o755)
    words = ["dpkg-buildpackage", "-us", "-uc", "-b", "-d", "-rsundog-fakeroot"]
    run_program(words, cwd=debian.parent)
    listed = run_program(["dpkg-deb", "-c", tmp_path / "hello_1.0_all.deb"]).stdout
    found = {line.split()[-1]: " ".join(line.split()[:2]) for line in listed.splitlines()}
    assert found == {
        "./": "drwxr-xr-x root/root",
        "./usr/": "drwxr-xr-x root/root",
        "./usr/games/": "drwxr-xr-x root/root",
        "./usr/games/hello": "-rwxr-sr-x root/games",
        "./var/": "drwxr-xr-x root/root",
        "./var/games/": "drwxrwsr-x root/games",
        "./var/games/null": "crw-r--r-- root/games",
        "./var/games/scores": "-rw-r--r-- games/games",
    }


SPEC = """\
Name: hello
Version: 1
Release: 1
Summary: hello
License: none
BuildArch: noarch
%description
%install
mkdir -p %{buildroot}/var/games
echo score >%{buildroot}/var/games/scores
chown 5:60 %{buildroot}/var/games/scores
mknod %{buildroot}/var/games/null c 1 3
%files
%attr(2775, root, games) %dir /var/games
%attr(640, games, games) /var/games/scores
%dev(c, 1, 3) %attr(666, root, root) /var/games/null
"""


def test_rpmbuild(root: MockRoot) -> None:
    place = root.directory
    (place / "hello.spec").write_text(SPEC)
    root("--", "rpmbuild", "-bb", "--quiet", "--define", f"_topdir {place}/top", "hello.spec")
    package = place / "top" / "RPMS" / "noarch" / "hello-1-1.noarch.rpm"
    listed = run_program(["rpm", "-qp", "--nosignature", "-lv", package]).stdout.splitlines()
    found = {line.split()[-1]: [*line.split()[:1], *line.split()[2:4]] for line in listed}
    assert found == {
        "/var/games": ["drwxrwsr-x", "root", "games"],
        "/var/games/null": ["crw-rw-rw-", "root", "root"],
        "/var/games/scores": ["-rw-r-----", "games", "games"],
    }


MAKE_TREE = f"""
mkdir -p tree/bin tree/dev tree/home/ada
cp {BUSYBOX} tree/bin/busybox; ln -s busybox tree/bin/sh
mknod -m 666 tree/dev/null c 1 3; mknod tree/dev/loop7 b 7 7
touch tree/home/ada/file; chown -R 1000:1001 tree/home/ada; ln -s file tree/home/ada/link
chown -h 3:4 tree/home/ada/link; chmod 4711 tree/home/ada/file
"""


def test_mksquashfs_from_a_state(ours: MockRoot) -> None:
    ours.sh(MAKE_TREE, "-s", "state")
    ours("-i", "state", "mksquashfs", "tree", "image", "-quiet", "-no-progress")
    listed = run_program(["unsquashfs", "-d", "", "-lln", ours.directory / "image"]).stdout
    found = {line.split()[5]: " ".join(line.split()[:2]) for line in listed.splitlines()[1:]}
    # A device has two numbers, and no size.
    assert "crw-rw-rw- 0/0" in listed
    assert "brw-r--r-- 0/0" in listed
    assert found["/home/ada"] == "drwxr-xr-x 1000/1001"
    assert found["/home/ada/file"] == "-rws--x--x 1000/1001"
    assert found["/home/ada/link"] == "lrwxrwxrwx 3/4"


def test_a_tar_of_a_state_is_the_same_as_fakeroots(ours: MockRoot, oracle: MockRoot) -> None:
    ours.sh(MAKE_TREE, "-s", "state")
    words = ("tar", "--sort=name", "-cf")
    ours("-i", "state", *words, "a.tar", "tree")
    oracle("-i", "state", *words, "b.tar", "tree")
    place = ours.directory
    assert (place / "a.tar").read_bytes() == (place / "b.tar").read_bytes()


def test_chroot_into_a_tree_with_static_programs(root: MockRoot) -> None:
    """fakeroot can do neither: its library is not in the tree, and static programs load none."""
    script = MAKE_TREE + (
        "chroot tree /bin/sh -c '/bin/busybox chown 5:6 /home/ada; "
        '/bin/busybox stat -c "%n %u %g %f" /home/ada /home/ada/file /dev/null; '
        "/bin/busybox mknod /dev/made c 4 5; /bin/busybox id -u'; "
        "stat -c '%u %g %F %t %T' tree/home/ada tree/dev/made; busybox find tree -type c | sort"
    )
    assert root.sh(script) == (
        "/home/ada 5 6 41ed\n/home/ada/file 1000 1001 89c9\n/dev/null 0 0 21b6\n0\n"
        "5 6 directory 0 0\n0 0 character special file 4 5\ntree/dev/made\ntree/dev/null\n"
    )


def test_other_users(root: MockRoot) -> None:
    script = """
    touch f; chown 5:60 f; chmod 600 f
    setpriv --reuid=5 --regid=60 --clear-groups sh -c 'id -u; id -g; touch mine; chmod 400 f'
    stat -c '%u %g %a' f mine
    setpriv --reuid=6 --clear-groups chmod 777 f 2>&1 || echo refused
    """
    (root.directory).chmod(0o777)
    assert root.sh(script) == (
        "5\n60\n5 60 400\n5 60 644\nchmod: changing permissions of 'f': Operation not permitted\n"
        "refused\n"
    )


THREAD = """
import pathlib, threading
def wait():
    pathlib.Path("number").write_text(str(threading.get_native_id()))
    threading.Event().wait()
threading.Thread(target=wait, daemon=True).start()
threading.Event().wait()
"""


def test_signals_to_threads_of_others(root: MockRoot) -> None:
    root.directory.chmod(0o777)
    (root.directory / "thread").write_text(THREAD)
    script = """
    python3 thread & until test -s number; do :; done
    for user in 0 5; do
        setpriv --reuid=$user --clear-groups sh -c 'kill -0 $0' $(cat number) 2>/dev/null &&
            echo $user may || echo $user may not
    done
    """
    assert root.sh(script) == "0 may\n5 may not\n"


def test_bubblewrap(root: MockRoot) -> None:
    """Its container is made inside, and what it changes is seen outside."""
    inside = (
        "chown 5:6 f; mknod n b 7 1; stat -c '%u %g' f /etc/passwd; ls /proc | grep -c '^[0-9]'"
    )
    script = (
        "touch f; bwrap --bind / / --dev /dev --proc /proc --tmpfs /mnt --unshare-pid "
        f'--unshare-net sh -ec "{inside}" >out; cat out; stat -c "%u %g %F" f n'
    )
    *lines, processes, first, second = root.sh(script).splitlines()
    assert lines == ["5 6", "0 0"]
    assert int(processes) < 10
    assert (first, second) == ("5 6 regular empty file", "0 0 block special file")


def bundle(directory: Path) -> Path:
    """Make a bundle of static programs that changes owners."""
    (directory / "rootfs" / "bin").mkdir(parents=True)
    for name in ("dev", "proc", "tmp"):
        (directory / "rootfs" / name).mkdir()
    shutil.copy(BUSYBOX, directory / "rootfs" / "bin" / "busybox")
    busybox = "/bin/busybox"
    script = (
        f"{busybox} id -u; >/tmp/f; {busybox} chown 5:6 /tmp/f; {busybox} stat -c '%u %g' /tmp/f"
    )
    held = ["CAP_CHOWN", "CAP_FOWNER"]
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": [busybox, "sh", "-c", script],
            "cwd": "/",
            "capabilities": {"bounding": held, "effective": held, "permitted": held},
        },
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": name} for name in ("pid", "mount", "uts", "ipc")]},
    }
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize("runtime", ["crun --cgroup-manager=disabled", "runc"])
def test_container_runtimes(root: MockRoot, runtime: str) -> None:
    """The runtimes want to be root, and make a container without a user namespace.

    crun refuses a machine with both versions of control groups, so it sees none.
    """
    place = bundle(root.directory / "bundle")
    hide = "mount -t tmpfs none /sys/fs/cgroup; " if runtime.startswith("crun") else ""
    script = (
        f"{hide}{runtime} --root '{place}/state' run -b '{place}' sundog-test-{place.parent.name}"
    )
    shown = root.sh(f"{script}; stat -c '%u %g' '{place}/rootfs/tmp/f'")
    assert shown == "0\n5 6\n5 6\n"


def test_a_debugger_works(root: MockRoot) -> None:
    """A debugger stops and reads a child, which is under the same supervisor."""
    script = (
        "import ctypes, os, signal\n"
        "libc = ctypes.CDLL(None)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    libc.ptrace(0, 0, 0, 0)\n"  # PTRACE_TRACEME
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    os.chown('f', 5, 6)\n"
        "    os._exit(0)\n"
        "print(os.WIFSTOPPED(os.waitpid(child, 0)[1]))\n"
        "libc.ptrace(7, child, 1, 0)\n"  # PTRACE_CONT
        "print(os.waitpid(child, 0)[1], os.stat('f').st_uid)\n"
    )
    (root.directory / "f").touch()
    assert root("--", "python3", "-c", script).stdout == "True\n0 5\n"


def test_many_files_at_once(ours: MockRoot) -> None:
    """More records than the supervisor watches, through a state file and back."""
    script = "mkdir d; cd d; seq 3000 | xargs touch; chown 5:6 *; rm 1*"
    ours.sh(script, "-s", "state")
    lines = (ours.directory / "state").read_text().splitlines()
    left = len(list((ours.directory / "d").iterdir()))
    assert sum(line.startswith("dev=") for line in lines) == left
    shown = ours("-i", "state", "sh", "-c", "stat -c '%u %g' d/* | sort | uniq -c")
    assert shown.stdout.split() == [str(left), "5", "6"]


def test_the_helper_that_knows_owners_ends(root: MockRoot) -> None:
    root("-u", "--", "true")
    listing = ["ps", "-C", "sundog-owners", "-o", "stat="]
    until(lambda: not run_program(listing, check=False).stdout.replace("Z", "").split())
