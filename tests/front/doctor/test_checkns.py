"""``ch-checkns`` prints ok, or the cause and what repairs it; the causes are real."""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from sundog.base.kernel.mounts import MS_BIND, MS_REC, mount
from sundog.base.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare, write_id_maps
from sundog.errors import ADMINISTRATOR, ORDINARY_USER, Hint, KernelError, NotHere, SundogError
from sundog.front.doctor.namespaces import STEPS
from sundog.front.doctor.outcome import FAILED, NOT_HERE, OK, Check, Outcome, attempt
from sundog.front.doctor.storage import storage_checks
from sundog.front.doctor.table import kernel_checks, surrounding_checks
from tests.base.kernel.child import in_child, in_namespaces
from tests.base.kernel.test_refusal import deny
from tests.conftest import Completed, command, run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REFERENCE = "/usr/bin/ch-checkns"


def checkns(*words: str) -> Completed:
    return run_program([*command("ch-checkns"), *words], check=False)


def test_ok() -> None:
    done = checkns()
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_like_charliecloud_s() -> None:
    ours, theirs = checkns(), run_program([REFERENCE], check=False)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)


def test_each_step_is_told(tmp_path: Path) -> None:
    done = checkns("-v")
    *lines, last = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"ok        {step.name}" for step in STEPS]
    assert last == "ok"


def test_the_page_has_every_row(tmp_path: Path) -> None:
    """``kernel`` to ``no_new_privs`` are STEPS; other rows are named by how they begin."""
    text = (CHECKOUT / "docs" / "reference" / "ch-checkns.md").read_text()
    table = text.partition("## What `--all` tries")[2].partition("\n## ")[0]
    first = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    told = tuple(word.rstrip(" …") for word in re.findall("`([^`]+)`", first))
    assert told[:2] == (STEPS[0].name, STEPS[-1].name)
    place = os.fsencode(tmp_path)
    checks = (*kernel_checks(), *storage_checks(place), *surrounding_checks())
    rows = [check.name for check in checks if check not in STEPS]
    assert [name for name in rows if not name.startswith(told)] == []
    assert [word for word in told[2:] if not any(row.startswith(word) for row in rows)] == [
        "registry HOST"
    ]


def refused(prepare: Callable[[], None]) -> tuple[int, list[str]]:
    """Return exit status and output of ch-checkns after ``prepare``, as mock root."""

    def inside() -> tuple[int, list[str]]:
        prepare()
        done = checkns()
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()

    return in_namespaces(inside)


def limit(kind: str, number: int) -> None:
    with open(f"/proc/sys/user/max_{kind}_namespaces", "w") as file:
        file.write(str(number))


def test_user_namespaces_switched_off() -> None:
    assert refused(lambda: limit("user", 0)) == (
        31,
        [
            "error: can't unshare user namespace: No space left on device",
            "errno: 28",
            (
                "hint: user namespaces are switched off here: user.max_user_namespaces is 0; "
                "ask the administrator for: sysctl -w user.max_user_namespaces=10000"
            ),
        ],
    )


def test_mount_namespaces_switched_off() -> None:
    status, lines = refused(lambda: limit("mnt", 0))
    assert status == 31
    assert lines[0] == "error: can't unshare user+mount namespaces: No space left on device"
    assert lines[2].endswith("sysctl -w user.max_mnt_namespaces=10000")


def test_a_second_user_namespace_is_needed() -> None:
    status, lines = refused(lambda: limit("user", 1))
    assert status == 31
    assert lines[0].startswith("error: can't unshare user")
    assert lines[2].startswith("hint: a limit of namespaces is reached")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("unshare", "can't unshare user namespace: Operation not permitted"),
        ("mount", "can't mount tmpfs on /: Operation not permitted"),
        ("pivot_root", "can't pivot_root .: Operation not permitted"),
        ("open_tree", "can't open_tree /dev: Operation not permitted"),
    ],
)
def test_a_seccomp_profile_that_forbids_a_call(call: str, message: str) -> None:
    status, lines = refused(lambda: deny(call, errno.EPERM))
    assert status == 31
    hint = (
        f"hint: a seccomp profile is in force here and seems to forbid {call}; if this runs in a "
        "container: start that container with --security-opt seccomp=unconfined"
    )
    assert lines == [f"error: {message}", "errno: 1", hint]


def test_inside_a_chroot(tmp_path: Path) -> None:
    def prepare() -> None:
        for name in os.listdir("/"):
            path, place = f"/{name}", tmp_path / name
            if os.path.islink(path):
                place.symlink_to(os.readlink(path))
            elif os.path.isdir(path):
                place.mkdir()
                mount(os.fsencode(path), os.fsencode(place), None, MS_BIND | MS_REC, None)
        os.chroot(tmp_path)
        os.chdir("/")

    status, lines = refused(prepare)
    assert status == 31
    assert lines[0] == "error: can't unshare user namespace: Operation not permitted"
    assert lines[2].startswith("hint: this is inside a chroot, where Linux allows no user namesp")


def test_all(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    done = checkns("--all", "--json", f"--storage={storage}")
    assert done.returncode == 0, done.stdout
    rows = json.loads(done.stdout)
    assert {row["state"] for row in rows} <= {OK, NOT_HERE}
    assert {"user namespace", "FUSE (SquashFS)", "storage: locks", "user"} <= {
        row["name"] for row in rows
    }
    keys = {"name", "state", "detail", "hint", "command", "who", "errno", "seconds"}
    assert all(row.keys() == keys for row in rows)
    assert list(tmp_path.iterdir()) == []


def test_all_goes_on_after_a_failure_and_names_who_must_do_what(tmp_path: Path) -> None:
    def inside() -> Completed:
        limit("mnt", 0)
        return checkns("--all", "--json", f"--storage={tmp_path / 'storage'}")

    done = in_namespaces(inside)
    assert done.returncode == 31
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    row = rows["mount namespace"]
    assert (row["state"], row["errno"], row["who"]) == (FAILED, errno.ENOSPC, ADMINISTRATOR)
    assert row["command"] == "sysctl -w user.max_mnt_namespaces=10000"
    assert rows["user namespace"]["state"] == OK
    assert rows["storage: locks"]["state"] == OK


def test_storage_that_cannot_be(tmp_path: Path) -> None:
    done = checkns("--all", "--json", f"--storage={tmp_path}/nope/storage")
    assert done.returncode == 31
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    row = rows["storage: directory"]
    assert row["detail"] == f"can't make a directory in {tmp_path}/nope: No such file or directory"
    assert row["hint"] == f"there is no {tmp_path}/nope"
    assert "storage: locks" not in rows
    assert rows["user"]["state"] == OK


@pytest.mark.parametrize(
    "words", [["--nope"], ["operand"], ["--registry", "h.x"], ["-s", "/tmp", "-v"]]
)
def test_mistakes(words: list[str]) -> None:
    done = checkns(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def raises(error: Exception) -> Callable[[], str]:
    def act() -> str:
        raise error

    return act


@pytest.mark.parametrize("in_child", [True, False])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            NotHere("none", "do without"),
            Outcome("x", NOT_HERE, "none", Hint("do without"), "", ORDINARY_USER),
        ),
        (SundogError("broken"), Outcome("x", FAILED, "broken")),
        (
            KernelError("mount", "/x", errno.EPERM, "no", Hint("wait", ADMINISTRATOR, "mend it")),
            Outcome(
                "x",
                FAILED,
                "no",
                Hint("wait", ADMINISTRATOR, "mend it"),
                "mend it",
                ADMINISTRATOR,
                errno.EPERM,
            ),
        ),
        (
            OSError(errno.ENOENT, "No such file or directory", "/nope/x"),
            Outcome(
                "x",
                FAILED,
                "can't open /nope/x: No such file or directory",
                Hint("there is no /nope"),
                "",
                ORDINARY_USER,
                errno.ENOENT,
            ),
        ),
    ],
)
def test_what_a_check_raises(error: Exception, expected: Outcome, in_child: bool) -> None:
    outcome = attempt(Check("x", raises(error), in_child=in_child))
    assert outcome.seconds >= 0
    assert replace(outcome, seconds=0) == expected
    assert outcome.advice == expected.advice


def test_a_check_leaves_this_process_as_it_was() -> None:
    def outcomes() -> list[str]:
        before = os.readlink("/proc/self/ns/mnt")
        states = [attempt(step).state for step in STEPS]
        assert os.readlink("/proc/self/ns/mnt") == before
        return states

    assert set(in_child(outcomes)) == {OK}


def test_in_another_container() -> None:
    """In a user namespace with one ID, as inside of ch-run, everything works."""

    def nested() -> Completed:
        uid, gid = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        write_id_maps(1234, 5678, uid, gid)
        return checkns()

    assert in_child(nested).stdout == "ok\n"
