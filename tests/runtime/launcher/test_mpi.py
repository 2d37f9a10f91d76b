"""The files of a session, variables and descriptors that pass to a rank of MPI."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sundog.runtime.container.operations import DESIRED, OPTIONAL
from sundog.runtime.container.variables import Environment
from sundog.runtime.emulation.notify.seccomp.trial import HAS_SUPERVISOR
from sundog.runtime.launcher.mpi import LAUNCHER_PREFIXES, native_security_fails, session_places
from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, messages

needs_supervisor = pytest.mark.skipif(
    not HAS_SUPERVISOR, reason="no supervisor on this architecture"
)
SHOW = "cat $PMIX_SERVER_TMPDIR/uri"


@pytest.fixture
def below_tmp() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


def session_in(directory: Path) -> dict[str, str]:
    """Make the directory of a session, and return the variable that names it."""
    session = directory / "session"
    session.mkdir()
    (session / "uri").write_text("tcp4\n")
    return {"PMIX_SERVER_TMPDIR": f"{session}/"}


@pytest.mark.parametrize(
    "options", [[], ["-t"], ["-W"], ["-t", "-W"], ["--notify"], ["-t", "--unset-env=*"]]
)
def test_the_session_is_at_its_own_path(
    ch_run: ChRun, image: Path, tmp_path: Path, below_tmp: Path, options: list[str]
) -> None:
    for place in (below_tmp, tmp_path):
        done = ch_run(*options, image, "--", "sh", "-c", SHOW, env=session_in(place))
        assert (done.stdout, done.stderr) == (b"tcp4\n", b"")
    assert not (image / tmp_path.parts[1] / tmp_path.parts[2]).exists()


def test_a_private_tmp_stays_private(ch_run: ChRun, image: Path, below_tmp: Path) -> None:
    env = session_in(below_tmp)
    (below_tmp / "other").touch()
    done = ch_run("-t", image, "--", "ls", below_tmp, env=env)
    assert done.stdout == b"session\n"


def test_a_writable_image_gets_no_mount_point(
    ch_run: ChRun, image: Path, tmp_path: Path, below_tmp: Path
) -> None:
    before = sorted(image.rglob("*"))
    assert ch_run("-w", image, "--", "true", env=session_in(tmp_path)).returncode == 0
    done = ch_run("-w", "-t", image, "--", "sh", "-c", SHOW, env=session_in(below_tmp))
    assert done.stdout == b"tcp4\n", done.stderr
    assert sorted(image.rglob("*")) == before


def test_which_files_belong_to_a_session(tmp_path: Path) -> None:
    spool, tmp = tmp_path / "spool", tmp_path / "tmp"
    slurm = tmp / f"spmix_appdir_{os.getuid()}_7.0"
    for directory in (spool, slurm):
        directory.mkdir(parents=True)
    variables = {
        "PMIX_SERVER_TMPDIR": str(spool),
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_PMIX_TMPDIR": str(tmp),
        "PALS_SPOOL_DIR": str(spool),
        "PALS_APINFO": "relative",
    }

    def found(host_tmp: bytes | None = b"/tmp", **more: str) -> list[tuple[bytes, str, bool]]:
        given = {name.encode(): value.encode() for name, value in (variables | more).items()}
        places = session_places(Environment.of(given), host_tmp, writable=False)
        assert all(place.source == place.destination for place in places)
        return [(place.source, place.need, place.in_tmpfs) for place in places]

    both = [(os.fsencode(spool), DESIRED, False), (os.fsencode(slurm), DESIRED, False)]
    assert found() == found(None) == both
    assert found(SLURM_STEP_ID="../x") == found(SLURM_JOB_ID="8") == both[:1]
    assert found(PALS_SPOOL_DIR=str(tmp)) == [both[0], (os.fsencode(tmp), DESIRED, False), both[1]]
    for path in ("", "/", "relative", f"{tmp_path}/missing", f"{spool}/../spool"):
        assert found(PMIX_SERVER_TMPDIR=path, PALS_SPOOL_DIR="", SLURM_JOB_ID="") == []


def test_what_the_container_shows_anyway(below_tmp: Path) -> None:
    environment = Environment.of({b"PMIX_SERVER_TMPDIR": os.fsencode(below_tmp)})
    assert session_places(environment, b"/tmp", writable=False) == []
    for host_tmp, need in ((None, DESIRED), (b"/scratch", OPTIONAL)):
        (place,) = session_places(environment, host_tmp, writable=True)
        assert (place.need, place.in_tmpfs) == (need, host_tmp is None)


def test_variables_of_launchers_stay(ch_run: ChRun, image: Path) -> None:
    kept = {f"{prefix.decode()}X": "1" for prefix in LAUNCHER_PREFIXES}
    env = kept | {"PMI": "1", "SLURM": "1", "XPMI_RANK": "1"}
    running = "CH_RUNNING=Weird Al Yankovic"
    lines = {f"{name}=1" for name in kept} | {running}
    done = ch_run("--unset-env=*", image, "--", "/bin/env", env=env)
    assert set(done.stdout.decode().splitlines()) == lines
    for options in (["--no-mpi-env", "--unset-env=*"], ["--unset-env=*", "--unset-env=*_*"]):
        done = ch_run(*options, image, "--", "/bin/env", env=env)
        assert done.stdout.decode().splitlines() == [running]
    done = ch_run("--unset-env=PMI_*", image, "--", "/bin/env", env=env)
    assert b"PMI_X" not in done.stdout
    assert b"PMIX_X" in done.stdout


def test_descriptors_pass(installed: Path, image: Path, tmp_path: Path) -> None:
    """PMI-1 and PMI-2 give a rank a connected socket, whose number is $PMI_FD."""
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [installed, "-t", "--unset-env=*", image, "--", "sh", "-c", "echo hello >&$PMI_FD"],
            env=ENVIRONMENT | {"PMI_FD": str(write), "CH_IMAGE_STORAGE": str(tmp_path)},
            pass_fds=[write],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert os.read(read, 100) == b"hello\n"
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize(
    ("options", "env", "warns"),
    [
        (["-u0"], {"PMIX_SECURITY_MODE": "native"}, True),
        (["--notify"], {"PMIX_SECURITY_MODE": "native"}, False),
        ([], {"PMIX_SECURITY_MODE": "native"}, False),
        (["-u0"], {"PMIX_SECURITY_MODE": "munge"}, False),
        (["-u0"], {}, False),
        (["--notify", f"-u{os.getuid()}"], {"PMIX_SECURITY_MODE": "native"}, False),
    ],
)
def test_a_rank_that_native_security_will_refuse(
    ch_run: ChRun, image: Path, options: list[str], env: dict[str, str], warns: bool
) -> None:
    done = ch_run(*options, image, "--", "true", env=env)
    assert done.returncode == 0
    warned = "PMIx will refuse this rank, because it calls itself user 0"
    assert any(warned in text for text in messages(done)) is warns
    uid = os.getuid()
    assert native_security_fails(Environment.of({b"PMIX_SECURITY_MODE": b"native"}), uid) is False


NATIVE = {"PMIX_SECURITY_MODE": "native"}


@needs_supervisor
@pytest.mark.parametrize("options", [(), ("-t",), ("-W",), ("--join", "--join-ct=1")])
def test_a_rank_starts_as_the_caller(
    ch_run: ChRun, image: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Native security compares the users, and the files of the session are the rank's own."""
    (image / "mnt").mkdir(exist_ok=True)
    session = session_in(tmp_path)
    directory = Path(session["PMIX_SERVER_TMPDIR"])
    directory.chmod(0o700)
    (directory / "uri").chmod(0o600)
    script = f"id -u; id -g; stat -c %u:%g {directory}/uri; echo >>{directory}/uri; echo $?"
    words = (*options, "--notify=strict", image, "--", "sh", "-c", script)
    uid, gid = os.getuid(), os.getgid()
    expected = f"{uid} {gid} {uid}:{gid} 0"
    done = ch_run(*words, env=session | NATIVE)
    assert (done.stdout.decode().split(), messages(done)) == (expected.split(), [])
    done = ch_run("-v", *words, env=session | NATIVE)
    note = f"PMIx compares users, so this rank calls itself user {uid}, group {gid}"
    assert messages(done).count(note) == 1
    (directory / "uri").write_text("")
    for more in (["-u", str(uid)], ["-u", str(uid), "-g", str(gid)], [f"--user={uid}:{gid}"]):
        done = ch_run(*more, *words, env=session | NATIVE)
        assert (done.stdout.decode().split(), messages(done)) == (expected.split(), [])
    done = ch_run(*words, env=session)  # no rank whose user PMIx compares
    assert done.stdout.split()[:2] == [b"0", b"0"]


@needs_supervisor
@pytest.mark.parametrize("options", [("-u0",), ("-u5", "-g6"), ("--user=root",)])
def test_a_rank_of_another_user_ends(ch_run: ChRun, image: Path, options: tuple[str, ...]) -> None:
    """PMIx would refuse it, and then the job would hang."""
    (image / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    done = ch_run("--notify", *options, image, "--", "true", env=NATIVE)
    assert done.returncode == 31
    error, hint = messages(done)
    user = "5, group 6" if "-u5" in options else "0, group 0"
    assert error == f"error: PMIx would refuse this rank, because it calls itself user {user}"
    assert hint.startswith("hint: leave out -u, -g and --user: then it calls itself user")


def test_binds_in_a_private_tmp(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    """The private /tmp is a tmpfs of the container, so ch-run can make mount points in it."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("mine\n")
    for options in ([], ["-W"]):
        done = ch_run(
            *("-t", *options, "-b", f"{data}:/tmp/a/b", "-b", f"{data / 'file'}:/tmp/c", image),
            *("--", "cat", "/tmp/a/b/file", "/tmp/c"),
        )
        assert (done.stdout, done.stderr) == (b"mine\nmine\n", b"")
    done = ch_run("-t", "-b", f"{data}:/tmp/a", "-b", f"{data}:/tmp/a/new", image, "--", "true")
    assert done.returncode == 31
    assert os.listdir(data) == ["file"]
