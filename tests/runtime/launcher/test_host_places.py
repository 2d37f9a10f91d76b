"""--home, $TMPDIR at its own path, read-only binds, --env, -h, and --dry-run."""

import os
import tempfile
from pathlib import Path

import pytest

from sundog.errors import SundogError
from sundog.runtime.container.operations import CREATED, DESIRED, OPTIONAL
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher.help import OPTIONS
from sundog.runtime.launcher.host_places import TemporaryDirectory, home_places
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.options import CommandLine
from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, messages
from tests.runtime.launcher.storages import fill_storage, make_storage

USER = ENVIRONMENT["USER"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "users" / "ada"
    path.mkdir(parents=True)
    (path / "file").write_text("mine\n")
    return path


def test_home_is_at_its_own_path_and_where_scripts_look(
    ch_run: ChRun, image: Path, home: Path
) -> None:
    show = f"echo $HOME; cat {home}/file /home/{USER}/file; echo more >$HOME/new; ls /home"
    done = ch_run("-t", "--home", image, "--", "sh", "-c", show, env={"HOME": str(home)})
    assert done.stdout.decode().split() == [str(home), "mine", "mine", USER], done.stderr
    assert (home / "new").read_text() == "more\n"
    assert not (image / "home").exists()
    done = ch_run("-t", image, "--", "sh", "-c", "echo $HOME", env={"HOME": str(home)})
    assert done.stdout == b"/\n"


def test_a_home_below_tmp_is_in_a_private_tmp(ch_run: ChRun, image: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        Path(home, "file").write_text("mine\n")
        done = ch_run("-t", "--home", image, "--", "sh", "-c", "cat $HOME/file", env={"HOME": home})
    assert (done.stdout, done.stderr) == (b"mine\n", b"")


@pytest.mark.parametrize("options", [["-W"], ["--notify"], ["-u0"]])
def test_home_with_other_options(
    ch_run: ChRun, image: Path, home: Path, options: list[str]
) -> None:
    words = ("-t", *options, "--home", image, "--", "sh", "-c", "cat $HOME/file")
    assert ch_run(*words, env={"HOME": str(home)}).stdout == b"mine\n"


def test_what_home_binds() -> None:
    def places(**variables: str) -> list[tuple[bytes, str]]:
        environment = Environment([f"{name}={value}".encode() for name, value in variables.items()])
        found = home_places(environment)
        assert all(place.source == found[0].destination for place in found)
        return [(place.destination, place.need) for place in found]

    own = (b"/u/ada", CREATED)
    assert places(HOME="/u/ada", USER="ada") == [own, (b"/home/ada", DESIRED)]
    assert places(HOME="/home/ada/", USER="ada") == [(b"/home/ada/", CREATED)]
    for user in ("", ".", "..", "a/b", "../etc"):
        assert places(HOME="/u/ada", USER=user) == [own]
    assert places(HOME="/u/ada") == [own]
    for variables in ({}, {"HOME": ""}):
        with pytest.raises(SundogError, match=r"^--home failed: \$HOME not set$"):
            places(**variables)
    for value in ("ada", "/", "//./"):
        with pytest.raises(SundogError, match=r"^--home failed: \$HOME is "):
            places(HOME=value)


def test_home_that_cannot_be(ch_run: ChRun, image: Path) -> None:
    done = ch_run("--home", image, "--", "true", env={"HOME": ""})
    assert done.returncode == 31
    assert messages(done)[0] == "error: --home failed: $HOME not set"
    done = ch_run("--home", image, "--", "true", env={"HOME": "/not/there"})
    assert done.returncode == 31
    assert messages(done)[0] == "error: can't bind: source not found: /not/there"


@pytest.mark.parametrize(
    ("variable", "value", "found"),
    [
        ("PMIX_SERVER_TMPDIR", "/scratch/1/prte.1/2", True),
        ("X", "/scratch/1/", False),
        ("TMP", "/scratch/1", False),
        ("TMPDIR", "/scratch/1/x", False),
        ("X", "/scratch/12", False),
        ("X", "/tmp/x", False),
    ],
)
def test_when_tmpdir_is_at_its_own_path(variable: str, value: str, found: bool) -> None:
    for tmp in (b"/scratch/1", b"/scratch/1/"):
        places = temporary_directory(tmp, variable, value).places
        assert [(place.source, place.destination, place.need) for place in places] == (
            [(tmp, tmp, DESIRED)] if found else []
        )
    for place in temporary_directory(b"/scratch/1", variable, value, b"-w").places:
        assert place.need == OPTIONAL
    for other in (b"/tmp", b"/tmp/", b"/"):
        assert temporary_directory(other, variable, value).places == []
    private = temporary_directory(b"/scratch/1", variable, value, b"-t")
    assert (private.shown, private.places) == (None, [])


@pytest.fixture(autouse=True)
def _directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the directories of these tests be there; one is not."""
    there = "sundog.runtime.launcher.host_places.exists"
    monkeypatch.setattr(there, lambda path: path != b"/gone/.")


def test_a_tmpdir_that_is_not_there() -> None:
    """As a login would have it: /tmp, and nothing at the path of $TMPDIR."""
    found = temporary_directory(b"/gone", "PMIX_SERVER_TMPDIR", "/gone/session")
    assert (found.shown, found.places, found.variable) == (b"/tmp", [], b"")


def test_a_start_without_its_tmpdir(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    done = ch_run(image, "--", "ls", "-d", "/tmp", env={"TMPDIR": str(tmp_path / "gone")})
    assert (done.stdout, done.stderr) == (b"/tmp\n", b"")


def temporary_directory(
    tmp: bytes, variable: str, value: str, *options: bytes
) -> TemporaryDirectory:
    """Return what is at /tmp if $TMPDIR is ``tmp`` and another variable has a value."""
    line = CommandLine([*options, b"image"], Messages())
    return TemporaryDirectory(line, Environment([f"{variable}={value}".encode(), b"TMPDIR=" + tmp]))


@pytest.mark.parametrize(
    ("tmp", "value", "shown", "variable"),
    [
        (b"/tmp/job", "/tmp/job/session", b"/tmp", b"/tmp/job"),
        (b"/tmp/job", "/tmp/job", b"/tmp/job", b""),
        (b"/tmp/job", "/tmp/other/x", b"/tmp/job", b""),
        (b"/tmp", "/tmp/session", b"/tmp", b""),
        (b"/scratch", "/scratch/session", b"/scratch", b""),
    ],
)
def test_a_tmpdir_below_tmp(tmp: bytes, value: str, shown: bytes, variable: bytes) -> None:
    found = temporary_directory(tmp, "PMIX_SERVER_TMPDIR", value)
    assert (found.shown, found.variable) == (shown, variable)


def test_a_rank_finds_its_session_directory(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    """mpirun's PMIx server tells a rank by a variable where its session directory is."""
    tmp = tmp_path / "scratch"
    session = tmp / "prte.node.1000" / "dvm.1"
    session.mkdir(parents=True)
    (session / "pmix.sock").write_text("here\n")
    env = {"TMPDIR": str(tmp), "PMIX_SERVER_TMPDIR": str(session)}
    show = "cat $PMIX_SERVER_TMPDIR/pmix.sock /tmp/prte.node.1000/dvm.1/pmix.sock; echo $TMPDIR"
    for options in ([], ["-W"], ["--notify"]):
        done = ch_run(*options, image, "--", "sh", "-c", show, env=env)
        assert done.stdout == b"here\nhere\n\n", (options, done.stderr)
    assert ch_run("-w", image, "--", "true", env=env).returncode == 0
    assert sorted(path.name for path in image.iterdir()) == sorted(
        ["bin", "dev", "etc", "mnt", "proc", "sys", "tmp"]
    )


def test_a_session_in_a_tmpdir_below_tmp(ch_run: ChRun, image: Path) -> None:
    """The container cannot show $TMPDIR twice without a directory in it.  So /tmp is the host's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as tmp:
        Path(tmp, "session").write_text("here\n")
        env = {"TMPDIR": tmp, "X": f"{tmp}/session"}
        done = ch_run(image, "--", "sh", "-c", "cat $X; echo $TMPDIR", env=env)
        assert (done.stdout.decode(), done.stderr) == (f"here\n{tmp}\n", b"")
        assert os.listdir(tmp) == ["session"]


def test_read_only_binds(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "a:b").mkdir()
    write = "echo x >/mnt/file"
    for mode, status in (("", 0), (":rw", 0), (":ro", 1)):
        (tmp_path / "data" / "file").unlink(missing_ok=True)
        done = ch_run("-b", f"data:/mnt{mode}", image, "--", "sh", "-c", write)
        assert done.returncode == status, mode
        assert (tmp_path / "data" / "file").exists() is (status == 0)
    done = ch_run("-u0", "-b", "data:/mnt:ro", image, "--", "mount", "-o", "remount,rw", "/mnt")
    assert done.returncode != 0
    (tmp_path / "data" / "in").touch()
    assert ch_run("-t", "-b", "data:/a:b", image, "--", "ls", "/a:b").stdout == b"in\n"
    assert ch_run("-t", "-b", "data:/a:b:ro", image, "--", "ls", "/a:b").stdout == b"in\n"
    done = ch_run("-b", "/mnt:ro", image, "--", "true")
    assert messages(done) == [
        "error: --bind: destination must be absolute",
        "hint: write --bind=/mnt:/mnt:ro",
    ]


def test_a_read_only_bind_covers_what_is_mounted_below(
    ch_run: ChRun, image: Path, tmp_path: Path
) -> None:
    done = ch_run("-b", "/dev:/mnt:ro", image, "--", "sh", "-c", "echo x >/mnt/shm/sundog-x")
    assert done.returncode == 1
    assert b"Read-only file system" in done.stderr


def test_env(ch_run: ChRun, image: Path, home: Path) -> None:
    words = ["-e", "A=$X:'y'", "--env=B=", "--set-env=C=1", "-eC", "--unset-env=D"]
    words += ["-e", "D", "-eHOME"]
    env = {"X": "x", "D": "host", "HOME": str(home)}
    done = ch_run(*words, image, "--", "env", env=env)
    found = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert found["A"] == "$X:'y'"
    assert (found["B"], found["D"], found["HOME"]) == ("", "host", str(home))
    assert "C" not in found


def test_h_is_help(ch_run: ChRun) -> None:
    assert ch_run("-h").stdout == ch_run("--help").stdout != b""
    assert ch_run("-th").returncode == 0


def test_dry_run(ch_run: ChRun, image: Path, home: Path) -> None:
    words = (
        *(
            "--dry-run",
            "-W2g",
            "--home",
            "-b",
            "/usr:/new:ro",
            "-c",
            "/x",
            "-eA=1\x1b",
            "--set-env",
        ),
        *("-e", "B", "--unset-env=C*"),
    )
    done = ch_run(*words, image, "--", "/bin/echo", "a b", env={"HOME": str(home)})
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    # The account's own storage directory may be there: it is covered, too.
    lines = [line for line in lines if not line.startswith("cover ")]
    assert lines[:3] == [
        f"mount {image} at / (read-only)",
        "overlay it with a tmpfs of size 2g",
        "bind /dev at /dev (created)",
    ]
    assert lines[-9:] == [
        f"bind {home} at {home} (created)",
        f"bind {home} at /home/{USER} (desired)",
        "bind /usr at /new (created, read-only)",
        r"environment: A=1\x1b",
        "environment: variables of /ch/environment",
        "environment: B of the host",
        "environment: unset C*",
        "change to directory /x",
        'executing: /bin/echo "a b"',
    ]


def test_dry_run_changes_nothing(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    storage = fill_storage(make_storage(tmp_path / "storage"))
    before = sorted(storage.rglob("*"))
    done = ch_run("--dry-run", "-w", "-b", "/usr:/new", image, "--", "rm", "-r", "/mnt")
    assert done.returncode == 0
    assert (image / "mnt").is_dir()
    assert not (image / "new").exists()
    done = ch_run("--dry-run", "app")
    assert done.stdout.decode().splitlines()[-3:] == [
        "environment: variables of /ch/environment",
        "change to directory /mnt",
        'executing: /bin/sh -c "echo default; pwd"',
    ]
    assert [path for path in sorted(storage.rglob("*")) if "accounts" not in str(path)] == before
    for words, status in ((["nowhere", "--", "x"], 31), (["-w", "app"], 31), (["--nope"], 64)):
        done = ch_run("--dry-run", *words)
        assert (done.returncode, done.stdout) == (status, b"")


# What --dry-run need not show: it is about messages, or a command line that has more.
NOT_SHOWN = {
    *(
        "cdi-dirs",
        "cdi-hooks",
        "devices",
        "dry-run",
        "env-no-expand",
        "image-store",
        "lazy",
        "no-site-binds",  # there is none: test_configured
        "mount",
        "no-fallback",
    ),
    *("no-mpi-env", "quiet", "record", "seccomp", "storage", "unsafe", "verbose", "verify"),
}
VALUES = {
    "bind": "/usr:/mnt",
    "cd": "/mnt",
    "device": "/dev/null",
    "env": "A=1",
    "feature": "overlayfs",
    "test": "log",
    "tmpfs": "/mnt",
    "user": "root",
}


def test_dry_run_shows_each_option(ch_run: ChRun, image: Path) -> None:
    def shown(*words: str) -> bytes:
        return ch_run("--dry-run", *words, image, "--", "true").stdout

    plain = shown()
    for _, name, argument, _ in OPTIONS:
        is_short = not argument or argument.startswith("[")
        word = f"--{name}" if is_short else f"--{name}={VALUES.get(name, '1')}"
        assert name in NOT_SHOWN or shown(word) != plain, name


def test_dry_run_prints_what_vv_prints(ch_run: ChRun, image: Path, home: Path) -> None:
    words = ("-t", "--home", "-b", "/usr:/new:ro", image, "--", "true")
    env = {"HOME": str(home), "TMPDIR": os.fspath(home)}
    plan = ch_run("--dry-run", *words, env=env).stdout.decode().splitlines()
    told = messages(ch_run("-vv", *words, env=env))
    at = told.index(plan[0])
    assert told[at : at + len(plan) - 1] == plan[:-1]
    assert plan[-1] in told
