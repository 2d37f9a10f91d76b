"""``ch-run --notify``: the user of the command, and the records before and after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import OwnerRecord, pack_owners, read_owners
from sundog.base.record.stack import ImageStack
from sundog.runtime.emulation.notify.seccomp.fast_path import MACHINES
from sundog.runtime.emulation.notify.seccomp.trial import HAS_SUPERVISOR, obstacle
from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, make_image, messages
from tests.runtime.launcher.test_image import MOUNT_POINTS, add_image

if TYPE_CHECKING:
    from tests.conftest import RootHelper

PASSWD = "root:x:0:0:root:/root:/bin/sh\nada:x:1815:100::/home/ada:/bin/sh\n"
GROUP = "root:x:0:\nusers:x:100:\nengine:x:12:ada,root\n"
SHADOW = OwnerRecord("f", 0, 42)
NULL = OwnerRecord("c", 0, 6, rdev=os.makedev(1, 3))
LOOK = "stat -c '%u:%g %F %n'"


def fill(tree: Path) -> None:
    """Add accounts, the files that have records, and links to applets."""
    (tree / "etc" / "passwd").write_text(PASSWD)
    (tree / "etc" / "group").write_text(GROUP)
    (tree / "etc" / "shadow").write_text("secret\n")
    (tree / "null").write_text("")
    for applet in ("chroot", "find", "mknod", "seq", "wc", "xargs"):
        (tree / "bin" / applet).symlink_to("busybox")


@pytest.fixture
def tree(image: Path) -> Path:
    """A directory image with accounts and records."""
    fill(image)
    (image / "ch").mkdir()
    owners = {b"etc/shadow": SHADOW, b"null": NULL}
    (image / "ch" / "owners").write_bytes(pack_owners(owners))
    return image


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A storage with an image "app" of two layers, both with records."""
    storage = tmp_path / "storage"
    skeleton = storage / "skeleton"
    for name in MOUNT_POINTS:
        (skeleton / name).mkdir(parents=True)
    base, top = storage / "layers" / "base", storage / "layers" / "top"
    fill(make_image(base / "tree"))
    (base / "owners").write_bytes(pack_owners({b"etc/shadow": SHADOW, b"null": NULL}))
    (top / "tree").mkdir(parents=True)
    (top / "tree" / "more").write_text("more\n")
    (top / "tree" / "null").write_text("no device any more\n")
    (top / "owners").write_bytes(pack_owners({b"more": OwnerRecord("f", 5, 6)}))
    add_image(storage, "app", ImageStack([b"top", b"base"]))
    add_image(storage, "ada", ImageStack([b"top", b"base"], command=[b"id"], user=b"ada"))
    return storage


# The user of the command


@pytest.mark.parametrize(
    ("options", "who", "home"),
    [
        ([], "uid=0(root) gid=0(root) groups=0(root)", "/"),
        (["-u0"], "uid=0(root) gid=0(root) groups=0(root),12(engine)", "/"),
        (["-u1815"], "uid=1815(ada) gid=100(users) groups=12(engine),100(users)", "/home/ada"),
        (["-u1815", "-g12"], "uid=1815(ada) gid=12(engine) groups=12(engine)", "/home/ada"),
        (["-g100"], "uid=0(root) gid=100(users) groups=100(users)", "/"),
        (["-u33"], "uid=33 gid=0(root) groups=0(root)", "/"),
        (["-u33", "-g44"], "uid=33 gid=44 groups=44", "/"),
    ],
)
def test_who_the_command_is(
    ch_run: ChRun, tree: Path, options: list[str], who: str, home: str
) -> None:
    done = ch_run("--notify", *options, tree, "--", "sh", "-c", "id; echo $HOME")
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [who, home]


def test_the_images_user(ch_run: ChRun, stored: Path) -> None:
    done = ch_run("--notify", "ada")
    assert done.stdout == b"uid=1815(ada) gid=100(users) groups=12(engine),100(users)\n"
    done = ch_run("--notify", "-u0", "ada", "--", "id", "-u")
    assert done.stdout == b"0\n"
    done = ch_run("ada", "--", "id", "-u")  # without --notify the user stays the same
    assert done.stdout == b"%d\n" % os.getuid()


def test_an_unknown_user_of_the_image(ch_run: ChRun, stored: Path) -> None:
    add_image(stored, "lost", ImageStack([b"top", b"base"], user=b"charles"))
    done = ch_run("--notify", "lost", "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        "error: no such user in the image: charles",
        "hint: the image's /etc/passwd has no entry for it; add one, or give a number",
    ]


def test_a_user_may_not_what_root_may(ch_run: ChRun, tree: Path) -> None:
    script = "chown 0 /etc/shadow; chmod 600 /etc/shadow; mknod /tmp/d c 1 3; chroot / true; id -u"
    done = ch_run("--notify", "-u1815", "-t", "-W", tree, "--", "sh", "-c", script)
    assert done.stderr.count(b"Operation not permitted") == 4, done.stderr
    assert done.stdout == b"1815\n"


def test_strict_controls_reading(ch_run: ChRun, tree: Path) -> None:
    (tree / "etc" / "shadow").chmod(0o640)
    script = "cat /etc/shadow; head -n1 /etc/passwd"
    look = (tree, "--", "sh", "-c", script)
    account = PASSWD.partition("\n")[0].encode() + b"\n"
    assert ch_run("--notify", "-u1815", *look).stdout == b"secret\n" + account
    done = ch_run("--notify=strict", "-u1815", *look)
    assert (done.stdout, b"Permission denied" in done.stderr) == (account, True)
    assert ch_run("--notify=strict", "-u33", "-g42", *look).stdout == b"secret\n" + account
    assert ch_run("--notify=strict", *look).stdout == b"secret\n" + account


@pytest.mark.skipif(os.uname().machine not in MACHINES, reason="the machine has no fast path")
def test_the_fast_path_leaves_no_trace_in_the_image(installed: Path, tree: Path) -> None:
    """BusyBox is static, so no variable is to be seen."""
    script = "ls -A /run | grep -c fast-path; env | grep -c PRELOAD; stat -c %u:%g /etc/shadow"
    for options, value, count in (
        (("--notify", "-W"), "yes", "1"),
        (("--notify", "-W"), "no", "0"),
        (("--notify",), "yes", "1"),
        (("--notify",), "no", "0"),
        (("--notify", "-w"), "yes", "0"),
        (("--notify=strict", "-W"), "yes", "0"),
    ):
        done = subprocess.run(
            [installed, *options, tree, "--", "sh", "-c", script],
            env=ENVIRONMENT | {"SUNDOG_FAST_PATH": value},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [count, "0", "0:42"], (options, done)
    assert not (tree / "run").exists()
    done = subprocess.run(
        [installed, "--notify", "-W", tree, "--", "true"],
        env=ENVIRONMENT | {"SUNDOG_FAST_PATH": "ja"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "error: $SUNDOG_FAST_PATH is neither yes nor no: ja" in done.stderr


def test_levels(ch_run: ChRun, tree: Path) -> None:
    done = ch_run("--notify=loose", tree, "--", "true")
    assert done.returncode == 31
    assert messages(done) == ["error: --notify: no such level: loose", "hint: one of: strict"]


# Records before and after the command


def test_a_directory_has_its_records_in_ch_owners(ch_run: ChRun, tree: Path) -> None:
    done = ch_run("--notify", tree, "--", "sh", "-c", f"{LOOK} /etc/shadow /null /etc")
    assert done.stdout.decode().splitlines() == [
        "0:42 regular file /etc/shadow",
        "0:6 character special file /null",
        "0:0 directory /etc",
    ]


def test_a_directory_needs_no_records(ch_run: ChRun, image: Path) -> None:
    done = ch_run("--notify", image, "--", "stat", "-c", "%u:%g", "/etc")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0:0\n", b"")
    assert not (image / "ch").exists()


def test_records_that_are_a_fifo(ch_run: ChRun, image: Path) -> None:
    """Reading it would wait for a writer for ever."""
    (image / "ch").mkdir()
    os.mkfifo(image / "ch" / "owners")
    for options in ((), ("-w",)):
        done = ch_run("--notify", *options, image, "--", "true")
        assert done.returncode == 31
        assert "not a regular file" in messages(done)[0]


def test_an_image_has_those_of_its_layers(ch_run: ChRun, stored: Path) -> None:
    done = ch_run("--notify", "app", "--", "sh", "-c", f"{LOOK} /etc/shadow /more /null")
    assert done.stdout.decode().splitlines() == [
        "0:42 regular file /etc/shadow",
        "5:6 regular file /more",
        "0:0 regular file /null",
    ]


CHANGE = "chown 7:8 /etc/motd; chown 9:9 /etc/shadow; rm /null; mknod /mnt/zero c 1 5"


def test_read_only(ch_run: ChRun, tree: Path) -> None:
    done = ch_run("--notify", tree, "--", "sh", "-c", "chown 9:9 /etc/shadow")
    assert b"Read-only file system" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["tree", "app"])
def test_written_to_a_copy(ch_run: ChRun, tree: Path, stored: Path, name: str) -> None:
    target = tree if name == "tree" else Path(name)
    script = f"echo >/etc/motd; {CHANGE}; {LOOK} /etc/motd /etc/shadow /mnt/zero; ls /null"
    done = ch_run("--notify", "-W", target, "--", "sh", "-c", script)
    assert done.stdout.decode().splitlines() == [
        "7:8 regular file /etc/motd",
        "9:9 regular file /etc/shadow",
        "0:0 character special file /mnt/zero",
    ]
    assert b"/null: No such file" in done.stderr
    done = ch_run("--notify", target, "--", "stat", "-c", "%u:%g", "/etc/shadow")
    assert done.stdout == b"0:42\n"


def test_written_to_the_directory(ch_run: ChRun, tree: Path) -> None:
    (tree / "etc" / "motd").write_text("hello\n")
    before = read_owners(bytes(tree / "ch" / "owners"))
    hidden = {b"dev": OwnerRecord("d", 1, 2), b"tmp/x": OwnerRecord("f", 3, 4)}
    (tree / "tmp" / "x").touch()
    (tree / "ch" / "owners").write_bytes(pack_owners(before | hidden))
    done = ch_run("--notify", "-w", tree, "--", "sh", "-c", CHANGE)
    assert (done.returncode, done.stderr) == (0, b"")
    after = read_owners(bytes(tree / "ch" / "owners"))
    assert after == {
        b"dev": OwnerRecord("d", 1, 2),  # mounts hide /dev and /tmp
        b"tmp/x": OwnerRecord("f", 3, 4),
        b"etc/motd": OwnerRecord("f", 7, 8),
        b"etc/shadow": OwnerRecord("f", 9, 9),
        b"mnt/zero": OwnerRecord("c", 0, 0, rdev=os.makedev(1, 5)),
    }
    done = ch_run("--notify", tree, "--", "sh", "-c", f"{LOOK} /etc/motd /mnt/zero; ls /null")
    assert done.stdout.startswith(b"7:8 regular file /etc/motd\n0:0 character special file /mnt/z")
    assert [path.name for path in (tree / "ch").iterdir()] == ["owners"]


def test_whatever_has_an_owner_is_found(ch_run: ChRun, image: Path) -> None:
    """The records have all names of a file, at their places when the command ends."""
    script = """set -e
    cd /mnt; mkdir -p a/b/c; touch a/b/file a/b/plain; ln -s nowhere a/soft; mkfifo a/fifo
    chown 1:2 a/b/file; chown -h 3:4 a/soft; chown 5:6 a/fifo a/b/c; chown 7:8 .
    ln a/b/file hard; mv a moved; mv moved/soft moved/b/
    touch gone; chown 9:9 gone; rm gone; touch gone"""
    done = ch_run("--notify", "-w", image, "--", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, b"")
    assert read_owners(bytes(image / "ch" / "owners")) == {
        b"mnt": OwnerRecord("d", 7, 8),
        b"mnt/hard": OwnerRecord("f", 1, 2),
        b"mnt/moved/b/file": OwnerRecord("f", 1, 2),
        b"mnt/moved/b/soft": OwnerRecord("l", 3, 4),
        b"mnt/moved/b/c": OwnerRecord("d", 5, 6),
        b"mnt/moved/fifo": OwnerRecord("p", 5, 6),
    }


def test_what_is_mounted_in_the_directory_is_not_in_it(
    ch_run: ChRun, image: Path, tmp_path: Path
) -> None:
    (image / "etc" / "covered").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    binds = [f"-b{tmp_path}/directory:/mnt", f"-b{tmp_path}/file:/etc/covered"]
    script = "chown 5:6 /mnt /etc/covered; stat -c %u:%g /mnt /etc/covered"
    done = ch_run("--notify", "-w", *binds, image, "--", "sh", "-c", script)
    assert (done.stdout, done.stderr) == (b"5:6\n5:6\n", b"")
    assert read_owners(bytes(image / "ch" / "owners")) == {}


def test_a_command_that_fails_is_recorded_too(ch_run: ChRun, image: Path) -> None:
    done = ch_run("--notify", "-w", image, "--", "sh", "-c", "chown 1:2 /mnt; kill -TERM $$")
    assert done.returncode == -15
    assert read_owners(bytes(image / "ch" / "owners")) == {b"mnt": OwnerRecord("d", 1, 2)}


@pytest.mark.parametrize("strange", ["fifo", "/dev/zero"])
def test_accounts_that_are_no_files(ch_run: ChRun, image: Path, strange: str) -> None:
    accounts = image / "etc" / "passwd"
    accounts.unlink()
    if strange == "fifo":
        os.mkfifo(accounts)
    else:
        accounts.symlink_to(strange)
    done = ch_run("--notify", "-u", "7", "-g", "8", image, "--", "sh", "-c", "echo here")
    assert done.stdout == b"here\n"


@pytest.mark.parametrize("leave", ["mkfifo", "ln /etc/group", "ln -s /etc/group"])
def test_what_a_container_leaves_in_place_of_the_draft(
    ch_run: ChRun, image: Path, leave: str
) -> None:
    group = (image / "etc" / "group").read_bytes()
    script = f"{leave} /ch/owners.new; chown 1:2 /mnt"
    assert ch_run("--notify", "-w", image, "--", "sh", "-c", script).returncode == 0
    assert read_owners(bytes(image / "ch" / "owners")) == {b"mnt": OwnerRecord("d", 1, 2)}
    assert (image / "etc" / "group").read_bytes() == group


def test_records_that_can_not_be_read(ch_run: ChRun, image: Path) -> None:
    records = image / "ch" / "owners"
    records.parent.mkdir(exist_ok=True)
    records.unlink(missing_ok=True)
    os.mkfifo(records)
    done = ch_run("--notify", "-w", image, "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        f"error: damaged records of owners: {records}: not a regular file",
        "hint: remove that file; then all files belong to root",
    ]


def test_one_writer_at_a_time(ch_run: ChRun, installed: Path, tree: Path) -> None:
    env = ENVIRONMENT | {"CH_IMAGE_STORAGE": str(tree.parent / "storage")}
    writer = subprocess.Popen(
        [installed, "--notify", "-w", tree, "--", "sh", "-c", "echo; read x; chown 7 /mnt"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"\n"
    done = ch_run("--notify", "-w", tree, "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        f"error: another container writes to {tree}, or an import reads it",
        "hint: wait until it has ended; or use ch-run -W, which writes to a copy",
    ]
    # A reader may run at the same time.
    assert ch_run("--notify", tree, "--", "stat", "-c%g", "/etc/shadow").stdout == b"42\n"
    writer.communicate(b"\n")
    assert writer.returncode == 0
    assert ch_run("--notify", "-w", tree, "--", "stat", "-c%u", "/mnt").stdout == b"7\n"


def test_a_directory_that_cannot_be_written(ch_run: ChRun, image: Path) -> None:
    (image / "ch").write_text("a file\n")
    done = ch_run("--notify", "-w", image, "--", "true")
    assert done.returncode == 31
    assert messages(done)[0] == f"error: can't record owners in {image}/ch: Not a directory"


@pytest.mark.parametrize("option", ["-w", "-W"])
def test_records_of_what_is_gone_are_of_no_account(ch_run: ChRun, tree: Path, option: str) -> None:
    (tree / "etc" / "shadow").unlink()
    (tree / "null").unlink()
    (tree / "null").mkdir()
    done = ch_run("--notify", option, tree, "--", "stat", "-c%u:%g", "/null")
    assert (done.stdout, done.stderr) == (b"0:0\n", b"")


def test_damaged_records(ch_run: ChRun, tree: Path) -> None:
    (tree / "ch" / "owners").write_text("nonsense\n")
    for option in ("-w", "-W"):
        done = ch_run("--notify", option, tree, "--", "true")
        assert done.returncode == 31
        assert "no owners manifest of version 1" in messages(done)[0]


@pytest.mark.slow
def test_many_records_survive_empty_caches(
    tree: Path, installed: Path, root_helper: RootHelper
) -> None:
    """Inode numbers stay the same under -W (xino), on the tmpfs and on the image below."""
    (tree / "many").mkdir()
    for number in range(10_000):
        (tree / "many" / f"below{number}").touch()
    script = (
        "cd /many; seq 10000 | xargs touch; find . -type f | xargs chown 5:6;"
        " echo done; read x; find . -type f -user 5 -group 6 | wc -l"
    )
    runner = subprocess.Popen(
        [installed, "--notify", "-W50%", tree, "--", "sh", "-c", script],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert runner.stdout is not None
    assert runner.stdout.readline() == b"done\n"
    root_helper.drop_caches()
    output, _ = runner.communicate(b"\n")
    assert output == b"20000\n"


def test_statistics(ch_run: ChRun, tree: Path) -> None:
    done = ch_run("--notify", "-v", tree, "--", "stat", "/")
    lines = [line for line in messages(done) if line.startswith("notify: ")]
    assert " in the supervisor" in lines[0]
    assert "newfstatat=1" in lines[1].split()


FAULTY = """
import os, sys
from sundog.runtime.emulation.notify.handlers.chown import OwnerHandlers
from sundog.runtime.launcher.main import run
from sundog.runtime.container.variables import Environment
def injected(self, thread, args):
    raise RuntimeError("injected")
OwnerHandlers.chown = injected
sys.exit(run([os.fsencode(word) for word in sys.argv[1:]], Environment.of(os.environb)))
"""


@pytest.mark.parametrize("option", [(), ("-v",)], ids=["", "verbose"])
def test_calls_that_could_not_be_answered_are_counted(
    tree: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    """The kernel answers the call, and the command continues."""
    words: list[str | Path] = [
        "--notify",
        *option,
        "-W",
        tree,
        "--",
        "sh",
        "-c",
        "chown 5 /mnt 2>&1; id -u",
    ]
    done = subprocess.run(
        [sys.executable, "-c", FAULTY, *words],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"chown: /mnt: Invalid argument\n0\n", done.stderr
    told = [line for line in messages(done) if "RuntimeError('injected')" in line]
    assert len(told) == len(option)
    hint = "" if option else ": see them with -v"
    assert messages(done)[-1] == f"warning: root emulation failed to answer 1 calls{hint}"


# Hosts without --notify

UNDER_A_LISTENER = """
import os, sys
from sundog.runtime.emulation.bpf import SECCOMP_RET_ALLOW, assemble, verdict
from sundog.runtime.emulation.notify.seccomp.listener import install_listener
from sundog.base.kernel.process import set_no_new_privs
set_no_new_privs()
listener = install_listener(assemble([verdict(SECCOMP_RET_ALLOW)]), 317)
os.set_inheritable(listener, True)
os.execv(sys.argv[1], sys.argv[1:])
"""
UNDER_A_PROFILE = """
import os, sys
from sundog.runtime.emulation.bpf import (
    DATA_NR, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, assemble, compare, label, load, verdict
)
from sundog.base.kernel.process import install_seccomp_filter, set_no_new_privs
set_no_new_privs()
denied = [compare(int(number), "deny") for number in sys.argv[1].split(",")]
source = [load(DATA_NR), *denied, verdict(SECCOMP_RET_ALLOW)]
install_seccomp_filter(assemble([*source, label("deny"), verdict(SECCOMP_RET_ERRNO | 1)]))
os.execv(sys.argv[2], sys.argv[2:])
"""
CASES = {
    "listener": (
        [UNDER_A_LISTENER],
        HAS_SUPERVISOR,
    ),
    "process_vm_readv": (
        [UNDER_A_PROFILE, "310"],
        "no process may look into another: process_vm_readv(2) is forbidden",
    ),
    "pidfd_getfd": (
        [UNDER_A_PROFILE, "438"],
        "can't pidfd_getfd a file of another process: Operation not permitted",
    ),
    "seccomp": (
        [UNDER_A_PROFILE, "317"],
        "can't seccomp SECCOMP_SET_MODE_FILTER: Operation not permitted",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_where_it_is_not_possible(installed: Path, tree: Path, case: str) -> None:
    (script, *words), reason = CASES[case]

    def ch_run(*options: str) -> subprocess.CompletedProcess[bytes]:
        command = ["sh", "-c", "chown 7:8 /mnt; echo $?; id -u; stat -c %u /mnt"]
        return subprocess.run(
            [sys.executable, "-c", script, *words, installed, *options, tree, "--", *command],
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            check=False,
        )

    done = ch_run("--notify")
    assert messages(done) == [f"warning: --notify is not possible here, using --seccomp: {reason}"]
    assert (done.returncode, done.stdout) == (0, b"0\n0\n0\n")
    done = ch_run("--notify", "--no-fallback")
    assert (done.returncode, done.stdout) == (31, b"")
    assert messages(done) == [
        f"error: --notify is not possible here: {reason}",
        "hint: leave out --no-fallback; or use --seccomp (ch-checkns --all says more)",
    ]


@pytest.mark.parametrize("also", ["", ",310", ",438"])
def test_where_no_container_is_possible(installed: Path, tree: Path, also: str) -> None:
    """The message names the impossible container, not the supervisor."""
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_PROFILE, f"272{also}", installed, "--notify", tree, "true"],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 31
    assert (
        messages(done)[0] == "error: can't unshare user+mount namespaces: Operation not permitted"
    )


def test_yama_may_forbid_it(tmp_path: Path) -> None:
    scope = tmp_path / "ptrace_scope"
    scope.write_text("3\n")
    reason = "kernel.yama.ptrace_scope is 3: no process may look into another"
    assert obstacle(ptrace_scope=bytes(scope)) == reason
    scope.write_text("2\n")
    assert obstacle(ptrace_scope=bytes(scope)) == ""


def test_an_architecture_without_tables() -> None:
    assert obstacle("mips64") == "no tables for the architecture mips64"


def test_seccomp_as_well(ch_run: ChRun, tree: Path) -> None:
    done = ch_run("--notify", "--seccomp", tree, "--", "true")
    assert (done.returncode, messages(done)[0]) == (
        31,
        "error: --seccomp incompatible with --notify",
    )


def test_within_itself(ch_run: ChRun, tree: Path, installed: Path) -> None:
    """The outer emulation continues; the inner ch-run warns that it uses --seccomp."""
    host = ["/usr", "/lib", "/lib64", sys.base_prefix]
    binds = [f"-b{path}" for path in host if os.path.exists(path)]
    done = ch_run(
        *("--notify", "-W", *binds, f"-b{tree}:/inner", f"-b{installed.parents[1]}:/prefix"),
        *(tree, "--", "sh", "-c"),
        "/prefix/bin/ch-run --notify /inner -- id -u; stat -c %g /etc/shadow",
    )
    assert done.stdout == b"0\n42\n", done.stderr
    assert b"using --seccomp: this process has a supervisor already" in done.stderr


@pytest.mark.parametrize("fallback", [True, False])
def test_within_a_filter(ch_run: ChRun, tree: Path, installed: Path, *, fallback: bool) -> None:
    """The outer filter would answer chown(2) before the call reached a supervisor."""
    host = ["/usr", "/lib", "/lib64", sys.base_prefix]
    binds = [f"-b{path}" for path in host if os.path.exists(path)]
    options = "" if fallback else "--no-fallback"
    done = ch_run(
        *("--seccomp", "-W", *binds, f"-b{tree}:/inner", f"-b{installed.parents[1]}:/prefix"),
        *(tree, "--", "sh", "-c"),
        f"/prefix/bin/ch-run --notify {options} -W /inner -- "
        "sh -c 'chown 5:6 /null; stat -c %u:%g /null'",
    )
    reason = "a filter around this process (ch-run --seccomp, a RUN.S) answers setuid and "
    told = messages(done)
    if fallback:
        assert (done.returncode, done.stdout) == (0, b"0:0\n")
        assert len(told) == 1
        assert told[0].startswith(
            f"warning: --notify is not possible here, using --seccomp: {reason}"
        )
    else:
        assert (done.returncode, done.stdout) == (31, b"")
        assert told[0].startswith(f"error: --notify is not possible here: {reason}")
        assert told[1:] == [
            "hint: leave out --no-fallback; or use --seccomp (ch-checkns --all says more)"
        ]
