"""Fixtures that all tests share: images, storage, the installed commands, the root helper.

A test may skip for only two reasons: ``needs root`` (it needs a reference or an action that only
root can provide; `make test` as root provides all of them) and ``kernel: …`` (in the kernel's own
words).  Any other skip is a failure, so that no test drops out unseen.
"""

from __future__ import annotations

import atexit
import base64
import fcntl
import functools
import gc
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import hypothesis
import pytest
from scripts.bases import makers

from tests import forked, selection

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

SKIPS = ("needs root", "kernel: ")
# On machines other than those that run the project's own tests, oracles may be missing.
STRICT = platform.machine() == "x86_64"

# The number of commands of a kind to kill; `make kills` uses more.
KILLS = int(os.environ.get("SUNDOG_KILLS", "6"))

# The number of power cuts, on all kinds of file systems together; `make kills` uses more.
CUTS = int(os.environ.get("SUNDOG_CUTS", "6"))

# Whether the run takes whole matrices, and tries each of many moments.
MATRICES = not os.environ.get("SUNDOG_DIAGONALS")

HELPER = os.environ.get("SUNDOG_ROOT_HELPER", "")
REFERENCES = os.environ.get("SUNDOG_REFERENCES", "")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and make sure that no test asks a registry outside.

    Short names lead to a port without a listener.
    """
    # nohup and a shell's & ignore these signals; all programs that tests start would inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _forget_the_machine()
    os.environ["CH_REGY_DEFAULT_HOST"] = "127.0.0.1"
    os.environ["CH_REGY_DEFAULT_PORT"] = "9"
    # A machine that does much else is no fault of the code.
    hypothesis.settings.register_profile("without deadline", deadline=None)
    hypothesis.settings.load_profile("without deadline")
    for marker in selection.MARKERS:
        config.addinivalue_line("markers", marker)
    gc.disable()  # a collection makes no garbage, and looking takes two of its five seconds
    if directory := os.environ.get("SUNDOG_BYTECODE"):
        # Most of the time of a collection goes into the bytecode of the tests.
        sys.dont_write_bytecode, sys.pycache_prefix = False, directory


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose and order the tests; see tests/selection.py."""
    if not MATRICES:
        left_out = selection.off_the_diagonals(items)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    selection.put_longest_first(items, processes)
    selection.mark_slow(items)


def pytest_collection_finish() -> None:
    """Import from the sources from here on: a test may write a module twice in a second."""
    gc.enable()
    gc.freeze()
    if "SUNDOG_BYTECODE" in os.environ:
        sys.dont_write_bytecode, sys.pycache_prefix = True, None


# The places where programs find a user's settings and logins: Sundog, skopeo, git, ssh and others.
SETTINGS = (
    *("CH_IMAGE_AUTH", "CH_IMAGE_STORAGE", "CONTAINERS_CONF", "CONTAINERS_REGISTRIES_CONF"),
    *("DOCKER_CONFIG", "GIT_CONFIG_GLOBAL", "REGISTRY_AUTH_FILE"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
)


def _forget_the_machine() -> None:
    """Use an empty home and run-time directory, whatever happened on this machine before.

    Without $XDG_RUNTIME_DIR, programs look for logins in /run/containers.  That directory is closed
    if root has used podman.
    """
    for name in SETTINGS:
        os.environ.pop(name, None)
    home = tempfile.mkdtemp(prefix="home.")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.mkdir(f"{home}/run", 0o700)
    os.environ["HOME"] = home
    os.environ["XDG_RUNTIME_DIR"] = f"{home}/run"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip for any other reason into a failure."""
    report = yield
    if report.skipped and STRICT and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(SKIPS):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: skipped for a reason that is none: {reason}"
    return report


def skip_needs_root() -> NoReturn:
    """Skip: this test needs something that only root can make or do."""
    pytest.skip("needs root")


@pytest.fixture
def fuse() -> None:
    """Skip where this user may not open /dev/fuse; scripts/check.py opens it, as root."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        skip_needs_root()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_running(request: pytest.FixtureRequest) -> Generator[None]:
    """Fail at the end if a process that works in the tests' directories is still alive."""
    # No argument, by which all tests would seem to work with files (tests/selection.py).
    directories: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    yield
    directory = os.fsencode(directories.getbasetemp())
    forked.end()
    deadline = time.monotonic() + 10
    while left := _processes_in(directory):
        assert time.monotonic() < deadline, f"left running: {left}"
        time.sleep(0.1)


def _processes_in(directory: bytes) -> list[str]:
    """Return the processes whose command line or working directory contains ``directory``.

    Forks have the command line of the process that made them.
    """
    mark = forked.MARK.encode()
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path("/proc", process, "cmdline").read_bytes().replace(b"\0", b" ")
            place = os.readlink(f"/proc/{process}/cwd".encode())
        except OSError:  # it has ended, or is another user's
            continue
        of_tests = directory in line + place or mark in line
        if of_tests and int(process) != os.getpid():
            found.append(f"{process}: {os.fsdecode(line)}")
    return found


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a directory that one of pytest's processes fills with ``make``, for all to read."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    directory, made = shared / name, shared / f"{name}.made"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(directory, ignore_errors=True)  # of a process that has failed
            directory.mkdir()
            make(directory)
            made.touch()
    return directory


# Images


def base_image(name: str) -> Path:
    """Return a base image's tarball; root makes it if it is not there, otherwise this user does."""
    if HELPER and makers.is_absent(name):
        RootHelper(HELPER).ask("make-base", name=name)
    return makers.base(name)


@pytest.fixture(scope="session")
def busybox_tar() -> Path:
    """Return a tarball of a root file system of static programs."""
    return base_image("busybox")


@pytest.fixture(scope="session")
def debian_tar() -> Path:
    """Return a tarball of Debian, in which apt works."""
    return base_image("debian")


@pytest.fixture(scope="session")
def rpm_tar() -> Path:
    """Return a tarball with dnf, zypper and a repository of RPMs."""
    return base_image("rpm")


@pytest.fixture(scope="session")
def alpine_tar() -> Path:
    """Return a tarball of Alpine, with a repository of one package."""
    return base_image("alpine")


@pytest.fixture
def busybox_tree(tmp_path: Path, busybox_tar: Path) -> Path:
    """Return a directory with a root file system of static programs, for this test alone."""
    tree = tmp_path / "busybox"
    tree.mkdir()
    subprocess.run(["tar", "-C", tree, "-xf", busybox_tar], check=True)
    return tree


# Commands

Completed = subprocess.CompletedProcess[str]


class Runner(Protocol):
    """Runs a command; by default its failure fails the test."""

    def __call__(
        self,
        *arguments: str | os.PathLike[str],
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> Completed: ...


IN_PLACE = {
    "ch-checkns": [sys.executable, "-m", "sundog.front.cli.checkns"],
    "ch-convert": [sys.executable, "-m", "sundog.front.cli.convert"],
    "ch-fromhost": [sys.executable, "-m", "sundog.front.cli.fromhost"],
    "ch-image": [sys.executable, "-m", "sundog.front.cli.image"],
    "ch-run": [sys.executable, "-m", "sundog.runtime.launcher"],
    "ch-run-oci": [sys.executable, "-m", "sundog.front.oci_runtime.command"],
    "ch-test": [sys.executable, "-m", "sundog.front.cli.selftest"],
    "sundog": [sys.executable, "-m", "sundog.front.cli.sundog"],
    "sundog-fakeroot": [sys.executable, "-m", "sundog.runtime.fakeroot.command"],
    "sundog-pyxis-importer": [sys.executable, "-m", "sundog.front.cli.pyxis_importer"],
}


def command(name: str) -> list[str]:
    """Return the argv of a command: the installed one, or the module in a checkout."""
    installed = Path(sys.executable).with_name(name)
    return [str(installed)] if installed.exists() else IN_PLACE[name]


def run_program(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120,
) -> Completed:
    """Run a program without input; by default its failure fails the test.

    ``env`` is added to the environment.  Output that is not text has lone surrogates.
    """
    done = subprocess.run(
        argv,
        env=os.environ | dict(env or {}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
    )
    return _checked(done) if check else done


def _checked(done: Completed) -> Completed:
    """Return the result of a command; its failure fails the test."""
    if done.returncode:
        name = os.path.basename(done.args[0])
        pytest.fail(f"{name}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def until(condition: Callable[[], object], what: str = "", seconds: float = 60) -> None:
    """Wait until ``condition`` is true; fail with the text ``what`` if that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def podman_options(subcommand: str) -> list[str]:
    """Return the long options of a subcommand of podman, as its help has them."""
    text = run_program(["podman", subcommand, "--help"]).stdout
    return sorted(set(re.findall(r"(?<=[ ,])--[a-z][a-z-]+", text)))


def runner(name: str, storage: Path, *, starts: bool = False) -> Runner:
    """Return a function that runs a command on a storage directory.

    The command is a fork (tests/forked.py) where that can be, unless the tests are of ``starts``.
    """

    def run(
        *arguments: str | os.PathLike[str],
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> Completed:
        more = {"CH_IMAGE_STORAGE": str(storage)} | dict(env or {})
        if starts or not forked.can_be(name, os.environ | more):
            argv = [*command(name), *arguments]
            return run_program(argv, check=check, env=more, cwd=cwd, timeout=timeout)
        words = [os.fspath(word) for word in arguments]
        done = forked.forks().run(name, words, os.environ | more, cwd or Path.cwd(), timeout)
        return _checked(done) if check else done

    return run


@pytest.fixture(params=["overlay", pytest.param("copy", marks=pytest.mark.slow)])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the commands use each storage driver in turn; return its name."""
    name: str = request.param
    monkeypatch.setenv("CH_IMAGE_DRIVER", name)
    return name


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Return the place of this test's storage directory, which does not exist yet."""
    return tmp_path / "storage"


@pytest.fixture(scope="session")
def storage_with_busybox(
    tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path
) -> Callable[[str], Path]:
    """Return a function that gives a storage directory with the image ``bb``, for a driver.

    Each is imported once, and tests get copies.
    """

    @functools.cache
    def imported(driver: str) -> Path:
        storage = tmp_path_factory.mktemp("busybox") / "storage"
        environment = {"CH_IMAGE_STORAGE": str(storage), "CH_IMAGE_DRIVER": driver}
        run_program([*command("ch-image"), "import", busybox_tar, "bb"], env=environment)
        return storage

    return imported


def copy_storage(source: Path, target: Path) -> None:
    """Copy a storage directory that a fixture has filled once, for a test that changes it."""
    subprocess.run(["cp", "-a", source, target], check=True)


@pytest.fixture
def bb(storage: Path, storage_with_busybox: Callable[[str], Path]) -> str:
    """Put an image of static programs into the test's own storage; return its name."""
    copy_storage(storage_with_busybox(""), storage)
    return "bb"


@pytest.fixture
def run_ch_image(storage: Path) -> Runner:
    """Run ch-image on the test's own storage."""
    return runner("ch-image", storage)


@pytest.fixture
def run_ch_run(storage: Path) -> Runner:
    """Run ch-run on the test's own storage."""
    return runner("ch-run", storage)


# Root

T = TypeVar("T")


@dataclass(frozen=True)
class RootHelper:
    """A client of scripts/root_helper.py: the few actions of root that tests need."""

    path: str

    def ask(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Ask for an action and return its answer; a refusal fails the test."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(self.path)
            connection.sendall(json.dumps({"action": action, **arguments}).encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                answer: dict[str, Any] = json.loads(stream.read())
        if "error" in answer:
            pytest.fail(f"root helper: {answer['error']}")
        return answer

    def as_second_user(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command as another ordinary user than the one that runs the tests."""
        answer = self.ask("as-second-user", argv=list(argv), env=dict(env or {}))
        return _completed(argv, answer)

    def as_victim(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command as the user that runs the tests, with ``name`` for the account's name."""
        place = str(cwd or Path.cwd())
        answer = self.ask("as-victim", name=name, argv=list(argv), env=dict(env), cwd=place)
        return _completed(argv, answer)

    def in_podman(
        self, argv: Sequence[str], show: Sequence[str], security: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in a container that root's podman makes, without rights.

        The container has the host's /usr, and the paths in ``show``.  ``security`` are values of
        --security-opt.
        """
        answer = self.ask("in-podman", argv=list(argv), show=list(show), security=list(security))
        return _completed(argv, answer)

    def descriptors(self, process: int) -> dict[str, str]:
        """Return what the descriptors of a process are, which nobody but root may ask."""
        found: dict[str, str] = self.ask("descriptors", process=process)["descriptors"]
        return found

    def drop_caches(self) -> None:
        """Empty the kernel's caches of pages, dentries and inodes."""
        self.ask("drop-caches")


def _completed(argv: Sequence[str], answer: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    streams = (base64.b64decode(answer[name]) for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(list(argv), answer["status"], *streams)


@pytest.fixture
def root_helper() -> RootHelper:
    """Return the client of the root helper; skip if there is no helper."""
    if not HELPER:
        skip_needs_root()
    return RootHelper(HELPER)


@pytest.fixture
def small_tmpfs(root_helper: RootHelper) -> Generator[Callable[[int, str], Path]]:
    """Mount tmpfs of so many KiB with further options, owned by the test's user."""
    mounted: list[str] = []

    def mount(kibibytes: int, options: str = "") -> Path:
        path = root_helper.ask("mount-tmpfs", kibibytes=kibibytes, options=options)["path"]
        mounted.append(path)
        return Path(path)

    yield mount
    for path in mounted:
        root_helper.ask("unmount", path=path)


def kept_by_root(look: Callable[[], T | None]) -> T:
    """Return what root keeps for comparisons; root makes it if it is not there, or skip."""
    found = look()
    if found is None and HELPER:
        RootHelper(HELPER).ask("make-references")
        found = look()
    if found is None:
        skip_needs_root()
    return found


@pytest.fixture(scope="session")
def foreign_tree() -> Path:
    """Return a directory, made by root, with other users' files; see scripts/references.py."""
    if not REFERENCES:
        skip_needs_root()
    return Path(REFERENCES) / "foreign"


@pytest.fixture
def project(tmp_path: Path) -> Generator[Path]:
    """Return a directory whose new files get a group that is not the user's."""
    if not REFERENCES:
        skip_needs_root()
    path = Path(REFERENCES, "project", tmp_path.name)
    path.mkdir()
    assert path.stat().st_gid not in (os.getegid(), *os.getgroups())
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def as_root() -> dict[str, Completed]:
    """Return the results of Sundog's commands run by root; see scripts/references.py."""
    if not HELPER:
        skip_needs_root()
    outcomes = RootHelper(HELPER).ask("as-root")["outcomes"]
    return {
        outcome["command"]: Completed(
            outcome["command"], outcome["status"], outcome["stdout"], outcome["stderr"]
        )
        for outcome in outcomes
    }


def state_of(pid: int) -> str:
    """Return the letter that proc_pid_stat(5) has for a process."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def children_of(pid: int) -> list[int]:
    """Return the children of the process ``pid``; none if the kernel does not list them."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []
