"""``sundog run`` becomes ``ch-run``: in its own interpreter, or by execve(2)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from sundog.base.installation import START
from sundog.front.cli.sundog_start import _SERVED, is_served
from sundog.runtime.launcher.help import OPTIONS
from tests.conftest import Completed, command, run_program
from tests.image.convert.formats import make_sif
from tests.runtime.launcher.installation import built_start

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

KEPT = "--userns=keep-id"
COMPILED = {"SUNDOG_START": "compiled"}


class Place:
    """A storage directory with the image busybox, and a SIF of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sif = path / "image.sif"
        run = path / "run"
        run.mkdir(mode=0o700)
        storage = str(path / "storage")
        self.environment = {"CH_IMAGE_STORAGE": storage, "XDG_RUNTIME_DIR": str(run)}

    def argv(self, *words: str | Path, argv: list[str] | None = None) -> list[str]:
        """Return a line of ``sundog run --rm``."""
        return [*(argv or command("sundog")), "run", "--rm", *map(str, words)]

    def run(
        self, *words: str | Path, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run ``sundog run --rm``."""
        return run_program(self.argv(*words), check=check, env=self.environment | dict(env or {}))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("start"))
    words = [*command("sundog"), "import", str(busybox_tar), "busybox"]
    run_program(words, env=place.environment)
    squashfs = place.path / "image.sqfs"
    words = [*command("ch-convert"), "busybox", str(squashfs)]
    run_program(words, env=place.environment)
    place.sif.write_bytes(make_sif(squashfs.read_bytes()))
    return place


def executed(place: Place, log: Path, *words: str, line: Sequence[str | Path] = ()) -> list[str]:
    """Return the names of the programs that a start executes, or another ``line`` of sundog."""
    options = ["-f", "-qq", "-z", "-e", "trace=execve,execveat", "-e", "signal=none", "-o", log]
    argv = [*command("sundog"), *map(str, line)] if line else place.argv(*words)
    run_program(["strace", *map(str, options), *argv], env=place.environment)
    names = re.findall(r'exec\w+\((?:\d+, )?"([^"]*)"', log.read_text())
    return [name.rpartition("/")[2] for name in names if name]  # the last step has no name


def test_programs_of_a_start(place: Place, tmp_path: Path) -> None:
    """One interpreter serves all; the compiled ch-run gets what it serves, and no shell runs."""
    if not Path(command("ch-run")[0]).read_bytes().startswith(b"\x7fELF"):
        pytest.fail("ch-run is not compiled")
    place.run(KEPT, "busybox", "true")  # it leaves the accounts
    log = tmp_path / "log"
    python = ["sundog", "python3"]
    assert executed(place, log, KEPT, "busybox", "true") == [*python, "ch-run", "true"]
    assert executed(place, log, "busybox", "true") == [*python, "true"]
    assert executed(place, log, KEPT, "-e", "A=1", "busybox", "true") == [*python, "true"]
    for words in (["--no-eval", "docker://busybox"], [place.sif]):
        line = ["apptainer", "exec", *words, "true"]
        assert executed(place, log, line=line) == [*python, "true"]
    line = ["apptainer", "exec", "docker://busybox", "true"]  # it is compiled
    assert executed(place, log, line=line) == ["sundog", "true"]
    # What makes layers of the last run, and may leave threads and more, ends by execve(2).
    argv = [*command("sundog"), "create", "busybox", "true"]
    name = run_program(argv, env=place.environment).stdout.strip()
    assert executed(place, log, line=["start", "-a", name])[:3] == [*python, "ch-run"]


def test_modules_of_a_start(place: Place, tmp_path: Path) -> None:
    """A cluster's file system answers for few files: what runs is joined."""
    launcher = "runtime/launcher/ch_run"
    common = ["__init__", "start", "joined"]
    run = [*common, "front/cli/sundog_joined", launcher]
    more = [f"{launcher}_{name}" for name in ("notify", "rare", "answering")]
    assert modules(place, tmp_path, "run", "--rm", "busybox", "true") == [*run, *more]
    apptainer = [launcher, "front/cli/apptainer_start"]
    line = ["apptainer", "exec"]
    found = modules(place, tmp_path, *line, "--no-eval", "docker://busybox", "true")
    assert found == apptainer
    # The server of a SIF is a process whose memory, so the name of its module, nobody can read.
    found = modules(place, tmp_path, *line, place.sif, "true")
    assert found == [*apptainer, f"{launcher}_squashfs", f"{launcher}_files"]
    rare = [*apptainer, *common, "front/cli/apptainer_joined"]
    found = modules(place, tmp_path, *line, "--pid", "docker://busybox", "true")
    assert found[: len(rare)] == rare


def test_many_starts_at_once(place: Place) -> None:
    """The ranks of a job begin together."""
    for image in ("docker://busybox", str(place.sif)):
        argv = [*command("sundog"), "apptainer", "exec", image, "true"]
        started = [subprocess.Popen(argv, env=os.environ | place.environment) for _ in range(8)]
        assert [process.wait() for process in started] == [0] * len(started)


def modules(place: Place, path: Path, *words: str | Path) -> list[str]:
    """Return the modules of Sundog that a line of ``sundog`` loads, in their order."""
    log = path / "log"
    options = ["-f", "-qq", "-z", "-e", "trace=openat", "-e", "signal=none", "-o", log]
    argv = ["strace", *map(str, options), *command("sundog"), *map(str, words)]
    run_program(argv, env=place.environment)
    names = re.findall(r'/sundog/([^"]*?)\.cpython-\d+\.pyc"', log.read_text())
    return [name.replace("__pycache__/", "") for name in names]


def test_what_the_compiled_ch_run_serves(tmp_path: Path) -> None:
    """The table of its options is that of the C."""
    program = tmp_path / "ch-run"
    program.write_bytes(built_start())
    program.chmod(0o755)
    given = {"bind": "/a:/b", "set-env": "A=1", "uid": "1", "gid": "1"}
    for _, name, argument, _ in OPTIONS:
        is_given = argument and not argument.startswith("[")
        word = f"--{name}={given.get(name, 'x')}" if is_given else f"--{name}"
        done = run_program([program, word, "/no/such", "--", "true"], check=False, env=COMPILED)
        is_declined = re.search("declined: (a rare option|an option that)", done.stderr)
        assert (f"--{name}" in _SERVED) <= (is_declined is None), name
    assert is_served(["--bind=/a:/b", "busybox", "--", "--device=x"])
    assert not is_served(["--bind=/a:/b:ro", "busybox"])
    assert not is_served(["--cd=/", "--device=x", "busybox"])


@pytest.fixture(params=[[], [KEPT], [KEPT, "--tmpfs", "/t"]], ids=["notify", "compiled", "Python"])
def user(request: pytest.FixtureRequest) -> list[str]:
    """Options for the ways into the container."""
    words: list[str] = request.param
    return words


def test_the_command_takes_the_process(place: Place, user: list[str]) -> None:
    """Its process ID is that of sundog; so its signals and its job control are the caller's."""
    with subprocess.Popen(
        place.argv(*user, "-i", "busybox", "sh", "-c", "echo $$ $PPID; read x; kill -9 $$"),
        env=os.environ | place.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        own, parent = map(int, process.stdout.readline().split())
        assert process.pid == (own if user else parent)
        assert os.getpgid(own) == os.getpgid(0) == os.getpgid(process.pid)
        assert os.getsid(own) == os.getsid(0)
        process.communicate("\n")
    assert process.returncode == -signal.SIGKILL


def test_signals(place: Place, user: list[str]) -> None:
    """What the caller ignores and blocks stays so; Python's own actions do not."""

    def prepare() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})

    done = subprocess.run(
        place.argv(*user, "busybox", "grep", "-E", "Sig(Ign|Blk|Cgt)", "/proc/self/status"),
        env=os.environ | place.environment,
        preexec_fn=prepare,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name: int(mask, 16) for name, mask in re.findall(r"(\w+):\s*(\w+)", done.stdout)}
    ignored = 1 << signal.SIGUSR1 - 1 | 1 << signal.SIGINT - 1
    assert found == {"SigBlk": 1 << signal.SIGUSR2 - 1, "SigIgn": ignored, "SigCgt": 0}


def test_descriptors(place: Place, user: list[str]) -> None:
    """The command gets the caller's, and none of ours."""
    reader, writer = os.pipe()
    os.dup2(writer, 57)
    done = subprocess.run(
        place.argv(*user, "busybox", "sh", "-c", "cd /proc/$$/fd; echo *"),
        env=os.environ | place.environment,
        stdout=subprocess.PIPE,
        pass_fds=[57],
        text=True,
        check=True,
    )
    for fd in (reader, writer, 57):
        os.close(fd)
    fds = set(map(int, done.stdout.split()))
    assert {0, 1, 2, 57} <= fds
    assert len(fds) <= 5  # the shell opens one


def test_environment(place: Place, user: list[str]) -> None:
    """ch-run sees what sundog made for it: the caller's variables are not there to be passed."""
    odd = {"BASH_FUNC_f%%": "() { :; }", "a.b": "host", "HOST": "host", "A": "host"}
    words = ["-e", "A=line", "-e", "a.b=line", "-e", "BASH_FUNC_f%%", "-e", "LC_ALL=line"]
    done = place.run(*user, *words, "busybox", "env", "-0", env=odd)
    found = dict(string.split("=", 1) for string in done.stdout.split("\0")[:-1])
    assert {name: found.pop(name) for name in ("CH_RUNNING", "PATH", "HOME")}["HOME"] != ""
    assert found == {"A": "line", "a.b": "line", "BASH_FUNC_f%%": "() { :; }", "LC_ALL": "line"}


def test_what_no_program_can_be_given(place: Place, user: list[str]) -> None:
    """The errors of execve(2) are those of a start without it."""
    for entrypoint in ('["a\\u0000b"]', '["\\ud800"]'):
        done = place.run(*user, "--entrypoint", entrypoint, "busybox", check=False)
        assert (done.returncode, done.stdout) == (125, "")
        (error,) = done.stderr.splitlines()
        assert re.fullmatch(r"error: can't execute \S*ch-run: .*", error)


def test_an_interruption_at_any_moment_ends_it_in_silence(place: Place, tmp_path: Path) -> None:
    options = ["-e", "trace=openat", "-e", "signal=none", "-o", tmp_path / "log"]
    for number in (1, 9, 25, 33, 41, 47):
        inject = ["-e", f"inject=openat:signal=SIGINT:when={number}"]
        argv = ["strace", "-qq", *map(str, options), *inject, *place.argv("busybox", "sleep", "9")]
        done = run_program(argv, check=False, env=place.environment)
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def additions(place: Place, path: Path) -> Generator[tuple[str, list[str | Path]]]:
    """Make images and directories at ``path``; yield lines that need more of the launcher."""
    image = [*command("ch-convert"), "busybox", str(path / "image.sqfs")]
    run_program(image, env=place.environment)
    yield "a file", [path / "image.sqfs", "true"]
    layout = [*command("ch-convert"), "-o", "oci-dir", "busybox", str(path / "layout")]
    run_program(layout, env=place.environment)
    yield "a layout", [f"oci:{path}/layout", "true"]
    yield "a device", ["--device=/dev/null:/opt/null", "busybox", "test", "-c", "/opt/null"]
    yield "a group", ["--name=together", "busybox", "true"]


def test_additions_of_the_launcher_are_found(place: Place, tmp_path: Path) -> None:
    for name, words in additions(place, tmp_path):
        for user in ([], [KEPT]):
            done = place.run(*user, *words, check=False)
            assert (done.returncode, done.stderr) == (0, ""), name


def test_a_checkout(place: Place) -> None:
    """Nothing has joined its modules; the interpreter goes on all the same."""
    start = [sys.executable, "-I", "-S", "-c", START, str(CHECKOUT / "src"), "sundog", ""]
    argv = place.argv("busybox", "id", "-u", argv=start)
    assert run_program(argv, env=place.environment).stdout == "0\n"


def test_values_of_variables_are_in_no_command_line(place: Place) -> None:
    """They are those of a process of sundog for as long as the container lives."""
    words = ["-e", "A=geheim1", "-eB=geheim2", "--env=C=geheim3", "-ie=D=geheim4"]
    shown = ["-e", "A", "-eB", "--env=C", "-ie=D"]
    command = ["busybox", "sh", "-c", "echo $A $B $C $D; read x"]
    for more in ([], ["-d"]):
        with subprocess.Popen(
            place.argv(*more, *words, *command),
            env=os.environ | place.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            lines = command_lines()
            assert not [text for text in lines if b"geheim" in text]
            start = b"\0".join(map(os.fsencode, ["run", "--rm", *more, *shown, *command]))
            assert [text for text in lines if start in text]
            process.communicate("\n")
        assert more or line == "geheim1 geheim2 geheim3 geheim4\n"


def command_lines() -> list[bytes]:
    """Return the arguments of all processes."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            lines.append(path.read_bytes())
    return lines
