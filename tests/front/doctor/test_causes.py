"""Each cause that ``ch-checkns --all`` knows is made real; the row names it, and its repair."""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import TYPE_CHECKING

from sundog.errors import ADMINISTRATOR
from sundog.front.doctor.apparmor import apparmor_check, quoted
from sundog.front.doctor.features import FEATURES
from sundog.front.doctor.file_systems import NETWORK, network_file_system
from sundog.front.doctor.host import HOST
from sundog.front.doctor.namespaces import ROOT_EMULATION
from sundog.front.doctor.outcome import FAILED, NOT_HERE, OK, Outcome, attempt
from sundog.front.doctor.place import trial_directory
from sundog.front.doctor.storage import storage_checks
from sundog.runtime.emulation.notify.state.files import file_system_type
from tests.base.kernel.child import in_namespaces
from tests.base.kernel.test_refusal import deny
from tests.conftest import Completed, command, run_program
from tests.front.doctor.causes import (
    close_device,
    cover,
    empty_dev,
    no_overlay,
    no_seccomp_filters,
    row,
    sysctl,
)
from tests.front.doctor.test_checkns import checkns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.conftest import RootHelper


def feature(name: str, prepare: Callable[[], None]) -> Outcome:
    """Make a check of ``FEATURES`` as mock root, after ``prepare``."""

    def inside() -> Outcome:
        prepare()
        return row(FEATURES, name)

    return in_namespaces(inside)


# The kernel


def test_no_overlay_module(tmp_path: Path) -> None:
    outcome = feature("overlay in memory (-W)", no_overlay)
    assert (outcome.state, outcome.errno) == (FAILED, errno.ENODEV)
    assert outcome.detail.endswith("No such device")
    assert (outcome.command, outcome.who) == ("modprobe overlay", ADMINISTRATOR)
    assert outcome.advice == "the kernel has no overlayfs: ch-run -W copies the image"

    def inside() -> Outcome:
        no_overlay()
        return row(storage_checks(os.fsencode(tmp_path)), "storage: overlay")

    outcome = in_namespaces(inside)
    assert outcome.state == NOT_HERE
    assert outcome.detail.startswith("images are kept by the driver copy: can't mount overlay")


def test_no_fuse_device() -> None:
    outcome = feature("FUSE (SquashFS)", empty_dev)
    assert (outcome.state, outcome.errno) == (FAILED, errno.ENOENT)
    assert outcome.detail == "/dev/fuse does not exist here: No such file or directory"
    assert (outcome.command, outcome.who) == ("modprobe fuse", ADMINISTRATOR)
    assert "--device /dev/fuse" in outcome.advice


def test_a_closed_fuse_device() -> None:
    outcome = feature("FUSE (SquashFS)", lambda: close_device("/dev/fuse"))
    assert (outcome.state, outcome.errno) == (FAILED, errno.EACCES)
    assert outcome.detail == "this user may not open /dev/fuse: Permission denied"
    assert (outcome.command, outcome.who) == ("chmod 0666 /dev/fuse", ADMINISTRATOR)


def test_yama_s_strictest_scope() -> None:
    """Where this kernel has no Yama, a file is in its place, and the check obeys it."""
    outcome = feature("supervision (--force=notify)", lambda: sysctl("yama.ptrace_scope", "3"))
    assert outcome.state == FAILED
    assert "kernel.yama.ptrace_scope is 3" in outcome.detail
    assert outcome.command.startswith("echo kernel.yama.ptrace_scope=1 >/etc/sysctl.d/")
    assert outcome.who == ADMINISTRATOR


def test_a_profile_that_forbids_to_look_into_processes() -> None:
    outcome = feature("supervision (--force=notify)", lambda: deny("process_vm_readv", errno.EPERM))
    assert outcome.state == FAILED
    assert outcome.command == ""
    assert "--force=seccomp" in outcome.hint


def test_no_filters() -> None:
    def inside() -> Outcome:
        no_seccomp_filters()
        return attempt(ROOT_EMULATION[0])

    outcome = in_namespaces(inside)
    assert (outcome.state, outcome.errno) == (FAILED, errno.EINVAL)
    assert outcome.hint.startswith("the kernel was built without CONFIG_SECCOMP_FILTER")


def test_apparmor() -> None:
    """The switch is a file where this kernel has no AppArmor; the refusal is a real one."""

    def restricted() -> Outcome:
        sysctl("apparmor_restrict_unprivileged_userns", "1")
        assert attempt(apparmor_check()).state == OK  # because namespaces can be made
        deny("unshare", errno.EACCES)
        return attempt(apparmor_check())

    outcome = in_namespaces(restricted)
    assert (outcome.state, outcome.errno) == (FAILED, errno.EACCES)
    program, _, rest = outcome.command.partition(" ")
    assert os.path.isabs(program)
    assert rest == (
        "--apparmor-profile >/etc/apparmor.d/sundog && apparmor_parser -r /etc/apparmor.d/sundog"
    )
    assert outcome.who == ADMINISTRATOR
    outcome = attempt(apparmor_check())
    assert (outcome.state, outcome.detail) == (OK, "it does not restrict user namespaces")


def test_apparmor_s_profile(tmp_path: Path) -> None:
    """The parser of AppArmor takes it; it is for the real paths of all commands."""
    text = run_program([*command("ch-checkns"), "--apparmor-profile"]).stdout
    assert "flags=(unconfined)" in text
    assert "  userns,\n" in text
    for name in ("ch-run", "ch-image", "ch-convert", "ch-checkns", "ch-run-oci", "sundog"):
        assert f'"{os.path.realpath(command(name)[0])}"' in text
    file = tmp_path / "sundog"
    file.write_text(text)
    parser = ["/usr/sbin/apparmor_parser", "-Q", "-K", "-T", "--skip-kernel-load"]
    done = run_program([*parser, file])
    assert "error" not in done.stderr.lower()
    file.write_text(text.replace("userns,", "usernamespaces,"))
    assert run_program([*parser, file], check=False).returncode == 1


def test_in_podman(root_helper: RootHelper) -> None:
    """An unprivileged container of podman: no /dev/fuse, and its /proc is covered in places."""
    words = [*command("ch-checkns"), "--all", "--json"]

    def rows(*security: str) -> dict[str, dict[str, str]]:
        done = root_helper.in_podman(words, [sys.prefix, sys.base_prefix], security)
        assert done.stdout, done.stderr
        return {row["name"]: row for row in json.loads(done.stdout)}

    found = rows()
    assert found["bind mount"]["state"] == OK
    fuse, pids = found["FUSE (SquashFS)"], found["PID namespace with /proc"]
    assert (fuse["state"], pids["state"]) == (FAILED, FAILED)
    assert "--device /dev/fuse" in fuse["hint"]
    assert pids["hint"].endswith("start that container with --security-opt unmask=ALL")
    assert rows("unmask=ALL")["PID namespace with /proc"]["state"] == OK


# The user and the storage directory


def test_no_subordinate_ids(tmp_path: Path) -> None:
    def inside() -> tuple[Outcome, str]:
        for name in ("/etc/subuid", "/etc/subgid"):
            if os.path.exists(name):
                cover(name, "", tmp_path)
        return row(HOST, "subordinate IDs"), checkns().stdout

    outcome, said = in_namespaces(inside)
    assert outcome.state == OK
    assert outcome.detail.endswith(" has none; Sundog needs none, and no setuid helper")
    assert said == "ok\n"


def test_another_user_s_storage_directory() -> None:
    with trial_directory("/usr") as (place, check):
        outcome = attempt(check)
    assert (place, outcome.state) == (b"", FAILED)
    assert outcome.detail == "storage directory /usr belongs to root: each user has their own"
    assert "--storage" in outcome.hint


def test_a_directory_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    with trial_directory(str(tmp_path)) as (_, check):
        outcome = attempt(check)
    assert outcome.detail == f"not a Sundog storage directory, and not empty: {tmp_path}"


def test_a_storage_directory_beside_which_nothing_can_be_made(tmp_path: Path) -> None:
    """A site makes one for each user, in a directory of its own."""
    storage = tmp_path / "images" / "ada"
    storage.mkdir(parents=True, mode=0o700)
    storage.parent.chmod(0o555)
    try:
        with trial_directory(str(storage)) as (place, check):
            assert attempt(check).state == OK
            assert os.path.dirname(place) == os.fsencode(storage)
    finally:
        storage.parent.chmod(0o755)
    assert list(storage.iterdir()) == []


def test_no_inodes(small_tmpfs: Callable[[int, str], Path]) -> None:
    place = small_tmpfs(2 << 20, "nr_inodes=1000")
    outcome = row(storage_checks(os.fsencode(place)), "storage: file system")
    assert outcome.state == FAILED
    assert outcome.detail.endswith("inodes: too few for images")


def test_network_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statfs(2) tells the type; on this machine, tmpfs stands for a network."""
    assert network_file_system(os.fsencode(tmp_path)) == ("", "")
    descriptor = os.open("/proc", os.O_PATH)
    number = file_system_type(descriptor)
    os.close(descriptor)
    assert number == 0x9FA0  # PROC_SUPER_MAGIC
    monkeypatch.setitem(NETWORK, number, ("NFS", "overlays can't write there"))
    found, advice = network_file_system(b"/proc")
    assert found == "NFS: overlays can't write there"
    assert "SquashFS" in advice


# The command


def test_the_exit_status_is_that_of_the_worst_row(tmp_path: Path) -> None:
    """A feature that fails is 1, and what no container does without is 31."""
    words = ("--all", f"--storage={tmp_path / 'storage'}")
    done = checkns(*words)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ok")
    done = checkns(*words, "--registry=127.0.0.1:9")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 failed")
    assert "failed    registry 127.0.0.1:9: can't reach 127.0.0.1:9: " in done.stdout


def test_who_must_run_what() -> None:
    def inside() -> Completed:
        with open("/proc/sys/user/max_mnt_namespaces", "w") as file:
            file.write("0")
        return checkns("--all", "--storage=/nope/nope")

    done = in_namespaces(inside)
    assert done.returncode == 31
    lines = done.stdout.splitlines()
    place = next(place for place, line in enumerate(lines) if "  mount namespace: " in line)
    assert lines[place + 1 : place + 3] == [
        "          hint: mount namespaces are switched off here: user.max_mnt_namespaces is 0",
        "          the administrator can run: sysctl -w user.max_mnt_namespaces=10000",
    ]


def test_a_path_that_apparmor_takes_for_a_pattern(tmp_path: Path) -> None:
    path = '/opt/a b/{x},*[1]?"@^/ch-run'
    text = f"abi <abi/4.0>,\n@{{c}} = {quoted(path)}\nprofile x @{{c}} flags=(unconfined) {{\n}}\n"
    (tmp_path / "profile").write_text(text)
    run_program(
        ["/usr/sbin/apparmor_parser", "-Q", "-K", "-T", "--skip-kernel-load", tmp_path / "profile"]
    )
