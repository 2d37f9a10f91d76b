"""``ch-test`` finds what works and what does not."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from sundog.front.doctor.images import IMAGE, image_checks, slurm_check
from sundog.front.doctor.outcome import FAILED, NOT_HERE, OK, attempt
from sundog.front.doctor.storage import storage_checks
from sundog.front.doctor.tiny_image import make_tiny_image
from tests.base.kernel.child import in_namespaces
from tests.base.kernel.test_refusal import deny
from tests.conftest import Completed, command, run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def selftest(storage: Path, *words: str, **env: str) -> Completed:
    words = (f"--storage={storage}", *words)
    return run_program([*command("ch-test"), *words], check=False, env=env, timeout=250)


def rows(done: Completed) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_everything_works(tmp_path: Path) -> None:
    done = selftest(tmp_path / "storage", "--registry", "127.0.0.1:9/image")
    *lines, last = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith("failed")]
    assert [line.split(":")[0] for line in failed] == [
        "failed    pull 127.0.0.1",
        "failed    registry 127.0.0.1",
    ]
    assert done.returncode == 1
    assert last.endswith(": 2 failed")
    for name in ("import", "run SquashFS", "run --join", "run -W", "run --notify", "convert"):
        assert any(line.startswith(f"ok        {name}") for line in lines), done.stdout
    for mode in ("none", "seccomp", "notify"):
        assert f"ok        build --force={mode}" in lines
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_mount_namespaces(tmp_path: Path) -> None:
    """Each line that fails says why; nothing ends in a stack trace."""

    def inside() -> Completed:
        with open("/proc/sys/user/max_mnt_namespaces", "w") as file:
            file.write("0")
        return selftest(tmp_path / "storage", "--format=json")

    done = in_namespaces(inside)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    found = rows(done)
    assert found["user namespace"]["state"] == OK
    for name in ("mount namespace", "pivot_root", "FUSE (SquashFS)", "import"):
        assert found[name]["state"] == FAILED
        assert "user.max_mnt_namespaces is 0" in found[name]["hint"], name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_seccomp_notify(tmp_path: Path) -> None:
    def inside() -> Completed:
        deny("pidfd_getfd", errno.EPERM)
        deny("process_vm_readv", errno.EPERM)
        return selftest(tmp_path / "storage", "--format=json")

    found = rows(in_namespaces(inside))
    assert found["supervision (--force=notify)"]["state"] == FAILED
    assert found["build --force=notify"]["state"] == FAILED
    assert "--force=seccomp" in found["build --force=notify"]["hint"]
    assert found["build --force=seccomp"]["state"] == OK


def test_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for srun starts its tasks side by side, as one Slurm step does."""
    programs = tmp_path / "programs"
    programs.mkdir()
    srun = programs / "srun"
    srun.write_text(
        "#!/bin/sh\nshift\nexport SLURM_JOB_ID=1 SLURM_STEP_ID=2 SLURM_STEP_NUM_TASKS=2\n"
        'export SLURM_CPUS_ON_NODE=2\n"$@" & "$@" & wait\n'
    )
    srun.chmod(0o755)
    (programs / "ch-run").write_text("#!/bin/sh\necho another installation\n")
    (programs / "ch-run").chmod(0o755)
    (tmp_path / "tree").mkdir()
    make_tiny_image(str(tmp_path / "tree"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    outcome = attempt(slurm_check(os.fsencode(tmp_path)))
    assert (outcome.state, outcome.detail) == (OK, "2 tasks")


def test_a_member_of_a_group_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one, which would wait for it, ends, too."""
    member = tmp_path / "member"
    member.write_text(
        f"""#!/bin/sh
        for number; do :; done
        test $number = 0 || {{ echo $$ >{tmp_path}/pid; exec sleep 1d; }}
        until test -s {tmp_path}/pid; do :; done
        echo "error: it can't begin" >&2; exit 1
        """
    )
    member.chmod(0o755)
    monkeypatch.setattr("sundog.front.doctor.commands.own_command", lambda _: [str(member)])
    (check,) = (each for each in image_checks(os.fsencode(tmp_path)) if each.name == "run --join")
    outcome = attempt(check)
    assert (outcome.state, outcome.detail) == (FAILED, "member: it can't begin")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_no_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = attempt(slurm_check(os.fsencode(tmp_path)))
    assert (outcome.state, outcome.detail) == (NOT_HERE, "no srun in $PATH")


def test_storage_where_nobody_may_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    done = selftest(tmp_path / "storage", "--format=json")
    tmp_path.chmod(0o755)
    assert done.returncode == 1
    found = rows(done)
    assert found["storage: directory"]["state"] == FAILED
    assert "mode 0555" in found["storage: directory"]["hint"]
    assert "import" not in found


def of_storage(place: Path) -> dict[str, tuple[str, str]]:
    """Make the checks of a file system in this process."""
    place.mkdir(exist_ok=True)
    found = [attempt(check) for check in storage_checks(os.fsencode(place))]
    return {row.name.removeprefix("storage: "): (row.state, row.detail) for row in found}


def test_a_full_file_system(small_tmpfs: Callable[[int, str], Path]) -> None:
    found = of_storage(small_tmpfs(1024, "") / "place")
    state, detail = found["file system"]
    assert state == FAILED
    assert detail.endswith("too little for images")
    assert found["locks"][0] == found["rename"][0] == OK


def test_a_file_system_from_which_nothing_runs(small_tmpfs: Callable[[int, str], Path]) -> None:
    state, detail = of_storage(small_tmpfs(4096, "noexec") / "place")["file system"]
    assert state == FAILED
    assert "mounted noexec: only images that are overlays run" in detail


def test_all_file_systems_have_what_sundog_needs(tmp_path: Path) -> None:
    found = of_storage(tmp_path / "place")
    assert {state for state, _ in found.values()} <= {OK, NOT_HERE}
    assert found["overlay"][1].startswith("images are kept by the driver ")


def test_the_image_s_name_is_nobody_else_s() -> None:
    assert IMAGE.startswith("localhost/sundog-test/")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build"], "unrecognized arguments: build"),
        (["--format=xml"], "argument --format: invalid choice: 'xml'"),
    ],
)
def test_mistakes(words: list[str], message: str) -> None:
    done = run_program([*command("ch-test"), *words], check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
