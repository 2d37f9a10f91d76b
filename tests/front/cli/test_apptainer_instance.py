"""``sundog apptainer instance``: real instances of images in storage, of directories, of SIFs."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.errors import SundogError
from sundog.front.apptainer.instance_logs import make_logs
from sundog.front.cli.apptainer_instance import user_name
from tests.conftest import children_of, command, run_program
from tests.front.cli.test_sundog_apptainer import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

WAIT = 30  # seconds
START = """#!/bin/sh
echo started "$@" in $APPTAINER_COMMAND; echo wrong >&2
[ "$1" = wait ] && exec sleep 1000
exit "$1"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    made = Place(tmp_path_factory.mktemp("instances"), busybox_tar)
    (made.sandbox / ".singularity.d/startscript").write_text(START)
    (made.sandbox / ".singularity.d/startscript").chmod(0o755)
    return made


@pytest.fixture(autouse=True)
def no_leftovers(place: Place) -> Iterator[None]:
    yield
    place.run("instance", "stop", "--all", "--force", check=False)


def listed(place: Place, *words: str) -> list[dict[str, Any]]:
    found = json.loads(place.run("instance", "list", "--json", *words).stdout)
    instances: list[dict[str, Any]] = found["instances"]
    return instances


def wait_until(holds: Callable[[], bool]) -> None:
    due = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < due
        time.sleep(0.02)


def inside(place: Place, name: str, script: str, *options: str) -> str:
    words = ["exec", *options, f"instance://{name}", "sh", "-c", script]
    return place.run(*words).stdout.strip()


def test_an_idle_instance(place: Place) -> None:
    """It lasts without a command, and shows its processes alone; commands share all that it has."""
    done = place.run("instance", "start", "--contain", "docker://bb", "web")
    assert done.stderr == "INFO:    instance started successfully\n"
    assert done.stdout == ""
    inside(place, "web", "echo kept > /tmp/file")
    assert inside(place, "web", "cat /tmp/file; pwd; id -u").splitlines() == [
        *("kept", str(place.home), str(os.geteuid())),
    ]
    assert int(inside(place, "web", "ls /proc | grep -c '^[0-9]*$'")) < 12
    [entry] = listed(place)
    assert (entry["instance"], entry["img"], entry["ip"]) == ("web", "docker://bb", "")
    table = place.run("instance", "list").stdout.splitlines()
    pid = str(entry["pid"])
    assert table[0] == f"INSTANCE NAME    {'PID':{len(pid) + 4}}IP    IMAGE"
    assert table[1] == f"{'web':17}{pid}    {'':6}docker://bb"
    done = place.run("instance", "start", "docker://bb", "web", check=False)
    assert done.returncode == 255
    assert done.stderr.startswith("FATAL:   instance web already exists\n")
    for words, status in ((["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137)):
        assert place.run("exec", "instance://web", *words, check=False).returncode == status
    done = place.run("exec", "instance://web", "nosuch", check=False)
    missing = 'FATAL:   "nosuch": executable file not found in $PATH'
    assert (done.returncode, done.stderr.splitlines()[0]) == (255, missing)
    done = place.run("instance", "stop", "web")
    assert done.stderr == f"INFO:    Stopping web instance of docker://bb (PID={pid})\n"
    assert listed(place) == []
    done = place.run("exec", "instance://web", "true", check=False)
    assert (done.returncode, "no instance found" in done.stderr) == (255, True)
    done = place.run("instance", "stop", "web", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (255, "FATAL:   no instance found")


def log(place: Place, name: str, kind: str) -> Path:
    directory = place.home / ".apptainer/instances/logs" / os.uname().nodename / user_name()
    return directory / f"{name}.{kind}"


def test_a_startscript(place: Place) -> None:
    """It gets its arguments, its output goes to the logs, and a signal ends it and all others."""
    pid_file = place.work / "pid"
    words = ("instance", "start", "--pid-file", pid_file, place.sandbox, "s.1")
    place.run(*words, "wait", "a  b")
    [entry] = listed(place)
    assert pid_file.read_text() == f"{entry['pid']}\n"
    out, err = log(place, "s.1", "out"), log(place, "s.1", "err")
    assert (entry["logOutPath"], entry["logErrPath"]) == (str(out), str(err))
    wait_until(lambda: err.read_text() == "wrong\n")
    assert out.read_text() == "started wait a  b in start\n"
    assert out.stat().st_mode & 0o777 == 0o600
    logs = place.run("instance", "list", "--logs").stdout.splitlines()
    assert [line.split()[-1] for line in logs] == ["LOGS", str(err), str(out)]
    script = "trap 'echo got > got; exit 0' INT; : > ready; while :; do sleep 0.1; done"
    argv = [*command("sundog"), "apptainer", "exec", "instance://s.1", "sh", "-c", script]
    with subprocess.Popen(argv, env=os.environ | place.environment, cwd=place.work) as other:
        wait_until((place.work / "ready").exists)
        place.run("instance", "stop", "s.*")
        assert other.wait(WAIT) == 0
    assert (place.work / "got").read_text() == "got\n"
    assert listed(place) == []


def test_the_end_of_a_startscript(place: Place) -> None:
    """If it ends with 0, the instance goes on; if it fails, the instance ends."""
    place.run("instance", "start", place.sandbox, "good", "0")
    place.run("instance", "start", place.sandbox, "bad", "3")
    wait_until(lambda: [entry["instance"] for entry in listed(place)] == ["good"])
    wait_until(lambda: log(place, "good", "err").read_text() == "wrong\n")
    assert inside(place, "good", "echo $APPTAINER_NAME $DOCK") == "sandbox image"
    assert listed(place, "g*")
    assert not listed(place, "x*")
    done = place.run("instance", "run", place.sandbox, "again", "words")
    assert done.stderr == "INFO:    instance started successfully\n"
    wait_until(lambda: "runscript words" in log(place, "again", "out").read_text())
    wait_until(lambda: [entry["instance"] for entry in listed(place)] == ["good"])
    found = place.run("instance", "list", "--user", user_name(), env={"APPTAINER_JSON": "1"}).stdout
    assert [entry["instance"] for entry in json.loads(found)["instances"]] == ["good"]
    for words in (["list"], ["stop", "good"], ["stats", "--no-stream", "good"]):
        done = place.run("instance", *words, "--user", "nobody-else", check=False)
        assert (done.returncode, "--user nobody-else: " in done.stderr) == (255, True), words
    stats = json.loads(place.run("instance", "stats", "--json", "good").stdout)
    assert stats["stats"][0]["instance"] == "good"
    rows = place.run("instance", "stats", "--no-stream", "good").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["INSTANCE", "good"]


def test_a_process_that_does_not_end(place: Place) -> None:
    """It gets SIGKILL after the time, and at once with --force."""
    place.run("instance", "start", "docker://bb", "hard")
    script = "trap '' INT; : > hard; while :; do sleep 0.1; done"
    argv = [*command("sundog"), "apptainer", "exec", "instance://hard", "sh", "-c", script]
    with subprocess.Popen(argv, env=os.environ | place.environment, cwd=place.work) as other:
        wait_until((place.work / "hard").exists)
        place.run("instance", "stop", "--timeout", "0", "hard")
        assert other.wait(WAIT) == 137
    assert listed(place) == []
    for words in (["stop"], ["stop", "--signal", "NO", "x"], ["start", "docker://bb"], ["stap"]):
        assert place.run("instance", *words, check=False).returncode == 1, words
    assert place.run("instance", "list", "--user", "nobody-else", check=False).returncode == 255
    for name in ("../x", "a/b", "-x", "", "a b", "x" * 80):
        done = place.run("instance", "start", "docker://bb", "--", name, check=False)
        assert done.returncode == 1, name


def descendants(process: int) -> Iterator[int]:
    for child in children_of(process):
        yield child
        yield from descendants(child)


def test_the_end_of_a_keeper(place: Place) -> None:
    """If the keeper of its group is killed, the instance ends, with all processes."""
    place.run("instance", "start", place.sandbox, "kept", "wait")
    [entry] = listed(place)
    names = {process: Path(f"/proc/{process}/comm") for process in descendants(entry["pid"])}
    [keeper] = [process for process, name in names.items() if name.read_text() == "ch-run-keeper\n"]
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not any(name.exists() for name in names.values()))
    assert listed(place) == []


def test_an_app(place: Place) -> None:
    """--app starts the app's own script, and later commands can use the app, too."""
    app = place.sandbox / "scif/apps/one/scif"
    app.mkdir(parents=True)
    (app / "startscript").write_text('#!/bin/sh\necho "$SCIF_APPNAME" "$@"\n')
    (app / "startscript").chmod(0o755)
    place.run("instance", "start", "--app", "one", place.sandbox, "apped", "x")
    wait_until(lambda: log(place, "apped", "out").read_text() == "one x\n")
    assert inside(place, "apped", "echo $SCIF_APPNAME", "--app", "one") == "one"
    shutil.rmtree(place.sandbox / "scif")


def test_stop_sends_what_is_asked(place: Place) -> None:
    """--signal, --force and their variables; --all means each instance, a name that one."""
    script = "trap 'exit 5' TERM; trap '' INT; : > $0; while :; do sleep 0.1; done"
    for words, env, status in (
        (["--signal", "TERM", "--timeout", "600", "one"], {}, 5),
        (["--all", "-t", "600"], {"APPTAINER_SIGNAL": "SIGTERM"}, 5),
        (["--force", "-t", "600", "one"], {}, 137),
        (["--timeout", "600"], {"SINGULARITY_FORCE": "1", "APPTAINER_ALL": "1"}, 137),
    ):
        (place.work / "stands").unlink(missing_ok=True)
        for name in ("one", "two"):
            place.run("instance", "start", "docker://bb", name)
        argv = [*command("sundog"), "apptainer", "exec", "instance://one", "sh", "-c", script]
        argv.append("stands")
        with subprocess.Popen(argv, env=os.environ | place.environment, cwd=place.work) as other:
            try:
                wait_until((place.work / "stands").exists)
                place.run("instance", "stop", *words, env=env)
                assert other.wait(WAIT) == status, words
            finally:
                other.kill()
        left = [] if "one" not in words else ["two"]
        assert [entry["instance"] for entry in listed(place)] == left
        if left:
            place.run("instance", "stop", "two")


def test_ghosts_go(place: Place) -> None:
    """An instance whose processes were killed is not listed, and its name is free."""
    place.run("instance", "start", "docker://bb", "ghost")
    [entry] = listed(place)
    os.kill(entry["pid"], signal.SIGKILL)
    wait_until(lambda: listed(place) == [])
    place.run("instance", "start", "docker://bb", "ghost")
    assert len(listed(place)) == 1
    done = place.run("instance", "start", "-B", "/nosuch:/x", "docker://bb", "fails", check=False)
    assert done.returncode == 255
    assert done.stderr.startswith("FATAL:   ")
    assert [entry["instance"] for entry in listed(place)] == ["ghost"]


def test_root_in_an_instance(place: Place, tmp_path: Path) -> None:
    """With --fakeroot, all commands share what is remembered, and the end writes it down."""
    image = tmp_path / "image"
    shutil.copytree(place.sandbox, image, symlinks=True)
    place.run("instance", "start", "--fakeroot", "--writable", image, "root", "0")
    inside(place, "root", "echo > /file; chown 1:2 /file")
    assert inside(place, "root", "id -u; stat -c %u:%g /file; echo $HOME").split() == [
        *("0", "1:2", "/root"),
    ]
    done = place.run("exec", "--fakeroot", "-B", "/opt", "instance://root", "true")
    assert done.stderr.splitlines() == [
        f"WARNING: --{name} has no effect: the instance runs already"
        for name in ("fakeroot", "bind")
    ]
    place.run("instance", "stop", "root")
    words = ("exec", "--fakeroot", "--writable", image, "stat", "-c", "%u:%g", "/file")
    assert place.run(*words).stdout == "1:2\n"
    place.run("instance", "start", place.sif, "sif")
    assert inside(place, "sif", "id -u; echo $APPTAINER_NAME").split() == [
        *(str(os.geteuid()), "x.sif"),
    ]


def test_what_an_image_writes_is_not_believed(place: Place, tmp_path: Path) -> None:
    """Links below ~/.apptainer lead nowhere, records are not there, and none can be seen."""
    precious = tmp_path / "web.out"
    precious.write_text("precious\n")
    state = place.path / "run/sundog"
    place.run("instance", "start", "docker://bb", "web")
    script = f"ls -A {state} {place.path}/storage 2>/dev/null; rm -rf ~/.apptainer/instances/logs; "
    script += f"ln -s {tmp_path} ~/.apptainer/instances/logs; : > {state}/x"
    done = place.run("exec", "instance://web", "sh", "-c", script, check=False)
    assert [line for line in done.stdout.split() if not line.endswith(":")] == []
    assert done.returncode
    done = place.run("instance", "start", "docker://bb", "other")
    assert done.stderr.splitlines()[0].startswith("WARNING: can't make logs in ")
    paths = [entry["logOutPath"] for entry in listed(place, "other")]
    assert paths == [str(state / "instances/other/out")]
    logs = place.home / ".apptainer/instances/logs"
    assert list(tmp_path.iterdir()) == [precious]
    logs.unlink()
    name = user_name()
    (logs / "h" / name).mkdir(parents=True, mode=0o700)
    (logs / "h" / name / "web.out").symlink_to(precious)
    os.link(precious, logs / "h" / name / "web.err")
    for fd, _ in make_logs(str(place.home), "h", name, "web"):
        os.write(fd, b"output of an image\n")
        os.close(fd)
    assert precious.read_text() == "precious\n"
    (logs / "h" / name).chmod(0o777)
    with pytest.raises(SundogError, match="yours alone"):
        make_logs(str(place.home), "h", name, "web")


def test_a_damaged_record(place: Place) -> None:
    """It is no instance, and goes."""
    place.run("instance", "start", "docker://bb", "web")
    record = place.path / "run/sundog/instances/web/state.json"
    value = json.loads(record.read_text())
    for change in ({"identity": ["--bind=/:/mnt"]}, {"process": "1"}, {"name": "x"}, {"extra": 1}):
        record.write_text(json.dumps(value | change))
        done = place.run("exec", "instance://web", "true", check=False)
        assert (done.returncode, "no instance found" in done.stderr) == (255, True), change
    record.write_text(json.dumps(value))
    place.run("exec", "instance://web", "true")


def test_an_instance_begins_once(place: Place) -> None:
    """Of several starts of one name, one succeeds."""
    argv = [*command("sundog"), "apptainer", "instance", "start", "docker://bb", "once"]
    environment = os.environ | place.environment
    started = [
        subprocess.Popen(argv, env=environment, cwd=place.work, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert sorted(process.returncode for process in started) == [0, 255, 255]
    assert sum(b"instance once already exists" in text for text in said) == 2


WITHOUT_PID_NAMESPACES = """
import os, sys
from sundog.runtime.container.enter import enter_namespaces
enter_namespaces(os.geteuid(), os.getegid())
with open("/proc/sys/user/max_pid_namespaces", "w") as limit:
    limit.write("0")
os.execvp(sys.argv[1], sys.argv[1:])
"""


def command_lines() -> Iterator[bytes]:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            yield (entry / "cmdline").read_bytes()


@pytest.mark.parametrize("options", ["", "--fakeroot"])
def test_without_a_pid_namespace(place: Place, options: str) -> None:
    """A WARNING says so; the instance shows the host's processes, and its end ends them all."""
    sundog, name = f"{command('sundog')[0]} apptainer", f"plain-{secrets.token_hex(4)}"
    script = f"""{sundog} instance start {options} docker://bb {name}
    {sundog} exec instance://{name} id -u
    {sundog} exec instance://{name} sh -c ': > {name}; sleep 1000' & until [ -e {name} ]; do :; done
    {sundog} instance stop {name}; wait $!; echo $?"""
    done = run_program(
        [sys.executable, "-c", WITHOUT_PID_NAMESPACES, "sh", "-c", script],
        env=place.environment,
        cwd=place.work,
    )
    assert done.stdout.split() == ["0" if options else str(os.geteuid()), "137"]
    assert done.stderr.startswith("WARNING: no PID namespace is possible here")
    wait_until(lambda: not any(name.encode() in line for line in command_lines()))
