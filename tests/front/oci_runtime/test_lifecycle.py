"""The operations of runtime.md: create, start, state, kill, delete, and those that callers add."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.living_process import Process
from tests.conftest import command, until

if TYPE_CHECKING:
    from tests.front.oci_runtime.conftest import Json, Runtime

Bundle = Callable[..., Path]

WAIT = "trap 'echo told; exit 9' TERM; echo up; while true; do sleep 0.05; done"


def test_a_life(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    path = bundle(WAIT, lambda config: config.update(annotations={"org.test.key": "value"}))
    oci("create", "--bundle", path, "--pid-file", tmp_path / "pid", "c1")
    assert oci.output() == ""  # the command does not run before start
    state = oci("state", "c1").json()
    assert state == {
        "ociVersion": "1.2.0",
        "id": "c1",
        "status": "created",
        "pid": int((tmp_path / "pid").read_text()),
        "bundle": str(path),
        "annotations": {"org.test.key": "value"},
    }
    assert Path(f"/proc/{state['pid']}").exists()
    # runtime.md: "any updates to config.json after this step MUST NOT affect the container"
    (path / "config.json").write_text("{}")
    with (tmp_path / "started").open("w") as out:
        argv = [*oci.argv(), "start", "c1"]
        subprocess.run(argv, stdout=out, check=True)
    oci.await_status("c1", "running")
    failed = oci("start", "c1", check=False)
    assert failed.status == 1
    assert failed.messages()[0]["msg"] == "cannot start a container that is running: c1"
    failed = oci("delete", "c1", check=False)
    assert failed.status == 1
    assert "is not stopped: running" in failed.messages()[0]["msg"]
    oci("kill", "c1", "KILL")
    oci.await_status("c1", "stopped")
    state = oci("state", "c1").json()
    assert (state["status"], "pid" in state) == ("stopped", False)
    failed = oci("kill", "c1", "TERM", check=False)
    assert failed.status == 1
    assert "container not running" in failed.messages()[0]["msg"]
    oci("delete", "c1")
    failed = oci("state", "c1", check=False)
    assert (failed.status, failed.stdout) == (1, "")
    assert failed.messages()[0] | {"time": ""} == {
        "level": "error",
        "msg": "container does not exist: c1 (hint: ch-run-oci list)",
        "time": "",
    }
    assert list(oci.root.iterdir()) == []


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "15", "term", None])
def test_kill(oci: Runtime, bundle: Bundle, tmp_path: Path, name: str | None) -> None:
    """A handler of the command gets the signal; TERM is the default."""
    argv = [*oci.argv(), "run", "-b", str(bundle(WAIT)), "c"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        oci("kill", "c", *([name] if name else []))
        assert run.stdout.read() == "told\n"
    assert run.returncode == 9
    assert list(oci.root.iterdir()) == []


def test_wrong_signals(oci: Runtime, bundle: Bundle) -> None:
    oci("create", "--bundle", bundle(), "c")
    for name in ("NOPE", "0", "65", "TERM+1x", "_DFL", "-1", "1000000"):
        failed = oci("kill", "c", name, check=False)
        assert failed.status == 1, name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_run_passes_signals_on(oci: Runtime, bundle: Bundle, number: int) -> None:
    name = signal.Signals(number).name.removeprefix("SIG")
    script = f"trap 'exit 7' {name}; echo up; while true; do sleep 0.05; done"
    argv = [*oci.argv(), "run", "-b", str(bundle(script)), "c"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        run.send_signal(number)
    assert run.returncode == 7


def test_a_killed_run_leaves_no_command(oci: Runtime, bundle: Bundle) -> None:
    argv = [*oci.argv(), "run", "-b", str(bundle(WAIT)), "c"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        run.kill()
    oci.await_status("c", "stopped")


def test_exit_statuses(oci: Runtime, bundle: Bundle) -> None:
    assert oci("run", "-b", bundle("exit 42"), "c", check=False).status == 42
    assert oci("run", "-b", bundle("kill -9 $$"), "c", check=False).status in (0, 137)
    host_pids = lambda config: config["linux"]["namespaces"].remove({"type": "pid"})  # noqa: E731
    assert oci("run", "-b", bundle("kill -9 $$", host_pids), "c", check=False).status == 137


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nope"], 'exec: "nope": executable file not found in $PATH'),
        (["/nope"], 'exec: "/nope": no such file or directory'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
        (["/etc"], 'exec: "/etc": permission denied'),
    ],
)
def test_no_program(oci: Runtime, bundle: Bundle, args: list[str], words: str) -> None:
    """create says so, in words that Podman knows, and leaves nothing."""
    path = bundle("", lambda config: config["process"].update(args=args))
    failed = oci("create", "-b", path, "c", check=False)
    assert (failed.status, failed.messages()[-1]["msg"]) == (1, words)
    assert list(oci.root.iterdir()) == []


def test_create_twice(oci: Runtime, bundle: Bundle) -> None:
    oci("create", "-b", bundle(), "c")
    failed = oci("create", "-b", bundle(), "c", check=False)
    assert failed.status == 1
    assert failed.messages()[0]["msg"].startswith("container with given ID already exists: c")
    assert oci.status("c") == "created"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a" * 241, "a b", "a\nb", "ä"])
def test_wrong_ids(oci: Runtime, bundle: Bundle, name: str) -> None:
    failed = oci("create", "-b", bundle(), name, check=False)
    assert failed.status == 1
    assert "invalid container ID" in failed.messages()[0]["msg"]


def test_delete_of_a_created_container(oci: Runtime, bundle: Bundle) -> None:
    oci("create", "-b", bundle(), "c")
    pid = oci("state", "c").json()["pid"]
    oci("delete", "c")
    until(lambda: not Path(f"/proc/{pid}/ns/user").exists() or is_zombie(pid))
    assert oci("delete", "c", check=False).status == 1
    oci("delete", "--force", "c")  # as runc: nothing to do


def is_zombie(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_only_one_start_wins(oci: Runtime, bundle: Bundle) -> None:
    oci("create", "-b", bundle("sleep 20"), "c")
    argv = [*oci.argv(), "start", "c"]
    starts = [subprocess.Popen(argv, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert sorted(start.wait() for start in starts) == [0, 1, 1, 1]


def test_another_process_with_the_number(oci: Runtime, bundle: Bundle) -> None:
    """A PID that another process has got is never signalled."""
    oci("create", "-b", bundle(), "c")
    file = oci.root / "c/state.json"
    state = json.loads(file.read_text())
    os.kill(state["pid"], signal.SIGKILL)
    with subprocess.Popen(["sleep", "60"]) as other:
        for change in ({"pid": other.pid}, {"pid": other.pid, "boot": "another"}):
            file.write_text(json.dumps(state | change))
            assert oci.status("c") == "stopped"
            assert oci("kill", "c", "KILL", check=False).status == 1
        oci("delete", "--force", "c")
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("own_pids", [True, False])
def test_nothing_is_left(oci: Runtime, bundle: Bundle, own_pids: bool) -> None:
    """delete kills what the command has left, also without a PID namespace."""

    def change(config: Json) -> None:
        if not own_pids:
            config["linux"]["namespaces"].remove({"type": "pid"})

    oci("create", "-b", bundle("sleep 36912 & exit 0", change), "c")
    oci("start", "c")
    oci.await_status("c", "stopped")
    oci("delete", "c")
    until(lambda: not running("sleep\x0036912"))


def running(text: str) -> bool:
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if text.encode() in Path("/proc", process, "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


def test_kill_all(oci: Runtime, bundle: Bundle) -> None:
    def change(config: Json) -> None:
        config["linux"]["namespaces"].remove({"type": "pid"})

    oci("create", "-b", bundle("sleep 98764 & sleep 98764; true", change), "c")
    oci("start", "c")
    until(lambda: len(oci("ps", "c").stdout.split()) == 3)
    oci("kill", "--all", "c", "KILL")
    oci.await_status("c", "stopped")
    assert not running("sleep\x0098764")


def test_list(oci: Runtime, bundle: Bundle) -> None:
    assert oci("list", "--quiet").stdout == ""
    for name in ("b", "a"):
        oci("create", "-b", bundle(), name)
    assert oci("list", "-q").stdout == "a\nb\n"
    assert oci("list", "-f", "table").stdout == oci("list").stdout
    for words in (["list", "-f", "xml"], ["ps", "-f", "xml", "a"]):
        failed = oci(*words, check=False)
        assert (failed.status, failed.stdout) == (1, "")
        assert "invalid format: xml (hint: --format table|json)" in failed.stderr
    rows = oci("list", "--format", "json").json()
    assert [(row["id"], row["status"]) for row in rows] == [("a", "created"), ("b", "created")]
    assert oci("list").stdout.splitlines()[0].split() == [
        "ID",
        "PID",
        "STATUS",
        "BUNDLE",
        "CREATED",
    ]


def test_logs(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for form in ("json", "text"):
        done = oci("state", "x", options=["--log", str(log), "--log-format", form], check=False)
        assert done.stderr == "ch-run-oci: container does not exist: x (hint: ch-run-oci list)\n"
    first, second = log.read_text().splitlines()
    assert set(json.loads(first)) == {"level", "msg", "time"}
    assert ' level=error msg="container does not exist' in second
    assert oci("state", "x", options=["--log-format", "xml"], check=False).status == 1


def test_the_state_directory_of_others(oci: Runtime, bundle: Bundle) -> None:
    oci.root.mkdir()
    oci.root.chmod(0o777)
    failed = oci("create", "-b", bundle(), "c", check=False)
    assert failed.status == 1
    assert "nobody else can write" in failed.messages()[0]["msg"]
    oci.root.chmod(0o700)


def test_the_default_state_directory(bundle: Bundle, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    environ = os.environ | {"XDG_RUNTIME_DIR": str(run)}
    for words in (["create", "-b", str(bundle()), "c"], ["delete", "c"]):
        subprocess.run([*command("ch-run-oci"), *words], env=environ, check=True)
    assert [path.name for path in run.iterdir()] == ["sundog"]
    assert (run / "sundog" / "oci").stat().st_mode & 0o777 == 0o700


def test_a_killed_create(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The container is then stopped, and can be deleted."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat {gate}"], "env": ["PATH=/bin:/usr/bin"]}
    path = bundle("", lambda config: config.update(hooks={"createRuntime": [hook]}))
    argv = [*oci.argv(), "create", "-b", str(path), "c"]
    with subprocess.Popen(argv) as create:
        until((oci.root / "c/state.json").exists)
        assert oci.status("c") == "creating"
        create.kill()
    # Open it, so that the hook ends, too.
    threading.Thread(target=lambda: gate.write_text(""), daemon=True).start()
    oci.await_status("c", "stopped")
    oci("delete", "c")
    assert list(oci.root.iterdir()) == []


def test_a_killed_create_keeps_no_lock(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Another command can end a process of the container that hangs in a hook."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat {gate}"], "env": ["PATH=/bin:/usr/bin"]}
    path = bundle("", lambda config: config.update(hooks={"createContainer": [hook]}))
    create = subprocess.Popen([*oci.argv(), "create", "-b", str(path), "c"])
    with create, gate.open("wb"):  # the hook runs
        create.kill()
        create.wait()
        oci("delete", "--force", "c")
    assert list(oci.root.iterdir()) == []


def test_no_exec_before_start(oci: Runtime, bundle: Bundle) -> None:
    """The first process is Sundog's own until then, and has descriptors of the host."""
    oci("create", "-b", bundle("sleep 60"), "c")
    failed = oci("exec", "c", "true", check=False)
    assert "cannot exec in a container that is created: c" in failed.messages()[0]["msg"]
    assert oci.status("c") == "created"


def test_exec(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    oci("create", "-b", bundle("sleep 60"), "c")
    oci("start", "c")
    done = oci("exec", "--env", "A=b", "--cwd", "/tmp", "c", "sh", "-c", "pwd; hostname; echo $A")
    assert done.stdout == "/tmp\noci-test\nb\n"
    own = Path(f"/proc/{oci('state', 'c').json()['pid']}/ns")
    names = ("user", "mnt", "pid", "ipc", "uts")
    script = "; ".join(f"readlink /proc/self/ns/{name}" for name in names)
    found = oci("exec", "c", "sh", "-c", script).stdout.split()
    assert found == [os.readlink(own / name) for name in names]
    assert oci("exec", "c", "sh", "-c", "exit 6", check=False).status == 6
    failed = oci("exec", "c", "nope", check=False)
    assert failed.messages()[0]["msg"] == 'exec: "nope": executable file not found in $PATH'
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["sleep", "55"], "cwd": "/", "env": ["PATH=/bin"]}))
    oci("exec", "--process", process, "--pid-file", tmp_path / "pid", "--detach", "c")
    pid = int((tmp_path / "pid").read_text())
    line = Path(f"/proc/{pid}/cmdline")
    until(lambda: line.read_bytes() == b"sleep\x0055\x00", "the last step does not end")
    assert str(pid) in oci("ps", "c").stdout.split()
    warned = oci("exec", "--user", "12:34", "c", "id", "-u")
    assert (warned.stdout, warned.messages()[0]["level"]) == ("0\n", "warning")
    oci("kill", "c", "KILL")
    oci.await_status("c", "stopped")
    assert "that is stopped" in oci("exec", "c", "true", check=False).messages()[0]["msg"]


def test_closed_streams(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """No file of Sundog takes the place of a stream that the caller has closed."""
    oci("create", "-b", bundle(), "c")
    log = tmp_path / "log"
    line = shlex.join([*oci.argv(), "--log", str(log), "state", "c"])
    subprocess.run(["sh", "-c", f"exec {line} <&- >&- 2>&-"], check=True)
    assert log.read_text() == ""


def test_versions_and_help(oci: Runtime) -> None:
    assert "spec: 1.2.0" in oci("--version").stdout.splitlines()
    assert oci("--help").stdout.startswith("usage: ")
    for words in (["pause", "c"], ["nope"], ["state"], ["state", "a", "b"], ["--nope"], []):
        assert oci(*words, check=False).status == 1


HOOK_ENV = ["PATH=/bin:/usr/bin"]


def hook(script: str) -> Json:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": HOOK_ENV}


def test_hooks_come_from_the_bundle(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """What an image has written into the state is no program that the host runs."""
    path = bundle("sleep 100")
    oci("create", "-b", path, "c")
    record = oci.root / "c" / "state.json"
    planted = {"poststart": [], "poststop": [hook(f"touch {tmp_path}/hooked")]}
    state = json.loads(record.read_text())
    record.write_text(json.dumps(state | {"hooks": planted, "lateHooks": True}))
    oci("start", "c")
    oci("delete", "--force", "c")
    assert not (tmp_path / "hooked").exists()


def test_hooks_of_another_bundle(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Late hooks run as ``create`` has read them, or not at all."""

    def with_hook(script: str) -> Callable[[Json], None]:
        return lambda config: config.update(hooks={"poststop": [hook(script)]})

    path = bundle("true", with_hook(f"touch {tmp_path}/right"))
    oci("create", "-b", path, "c")
    bundle("true", with_hook(f"touch {tmp_path}/wrong"))
    warned = oci("delete", "--force", "c").messages()
    assert "config.json has changed since the container was created" in warned[0]["msg"]
    bundle("true", with_hook(f"touch {tmp_path}/right"))
    oci("create", "-b", path, "c")
    oci("delete", "--force", "c")
    assert [name for name in os.listdir(tmp_path) if name in ("right", "wrong")] == ["right"]


def test_exec_believes_no_state(oci: Runtime, bundle: Bundle) -> None:
    """The process of the state is the container's, or the command does not run."""
    oci("create", "-b", bundle("sleep 100"), "c")
    oci("start", "c")
    record = oci.root / "c" / "state.json"
    state = json.loads(record.read_text())
    alone = ["unshare", "-Um", "sh", "-c", "echo up; exec sleep 100"]
    with subprocess.Popen(alone, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        for pid in (other.pid, os.getpid()):
            process = Process.of(pid)
            forged = {"pid": pid, "startTime": process.start}
            record.write_text(json.dumps(state | forged))
            done = oci("exec", "c", "true", check=False)
            assert (done.status, done.stdout) == (1, "")
            assert f"process {pid} is not that of the container" in done.messages()[0]["msg"]
        other.kill()
    for key, value in {"bundle": "/no/such", "configuration": "0"}.items():
        record.write_text(json.dumps(state | {key: value}))
        assert oci("exec", "c", "true", check=False).status == 1
    record.write_text(json.dumps(state))
    oci("exec", "c", "true")


def test_no_state_where_containers_write(bundle: Bundle, tmp_path: Path) -> None:
    """Without $XDG_RUNTIME_DIR, the state is in the storage directory, which no container sees."""
    environ = os.environ | {"XDG_RUNTIME_DIR": "", "CH_IMAGE_STORAGE": str(tmp_path / "storage")}
    argv = [*command("ch-run-oci"), "create", "-b", str(bundle()), "c"]
    subprocess.run(argv, env=environ, check=True)
    (record,) = tmp_path.glob("storage/run/*/oci/c/state.json")
    assert record.stat().st_mode & 0o777 == 0o600
    assert not Path(f"/tmp/ch-run-oci.{os.geteuid()}").exists()
    subprocess.run([*command("ch-run-oci"), "delete", "--force", "c"], env=environ, check=True)
    assert list(record.parent.parent.iterdir()) == []


def test_files_that_may_not_grow(oci: Runtime, bundle: Callable[..., Path]) -> None:
    """Neither ``run`` nor ``exec`` dies of SIGXFSZ without a word: ulimit -f."""
    oci("run", "--detach", "--bundle", bundle("sleep 100"), "c")
    other = bundle(name="other")
    for words in (["run", "--bundle", str(other), "d"], ["exec", "c", "true"]):
        argv = ["prlimit", "--fsize=0", *oci.argv(), *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert "can't write a file: File too large" in done.stderr, done
        assert "ulimit -f unlimited" in done.stderr
        assert done.returncode > 0
    oci("delete", "--force", "c")
