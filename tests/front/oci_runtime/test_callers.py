"""The programs that call an OCI runtime: buildah, podman, Slurm; and runc as an oracle.

crun is no oracle: as an ordinary user it refuses machines with both versions of control groups.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from tests.conftest import Completed, Runner, command, run_program, until

if TYPE_CHECKING:
    from tests.front.oci_runtime.conftest import Json, Runtime

pytestmark = pytest.mark.slow

Bundle = Callable[..., Path]

DOCS = CHECKOUT / "docs"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return ch-run-oci as one file, as callers name it."""
    path = tmp_path / "bin" / "ch-run-oci"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command("ch-run-oci"))} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., Completed]:
    """Run buildah or podman with a storage of its own, as a user without subordinate IDs."""
    place = tmp_path / "engine"
    (place / "run").mkdir(parents=True, mode=0o700)
    environment = {
        "HOME": str(place),
        "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        "TMPDIR": str(place),
        "XDG_RUNTIME_DIR": str(place / "run"),
    }

    def run(*words: str | Path, check: bool = False) -> Completed:
        options = ["--root", str(place / "root"), "--runroot", str(place / "runroot")]
        first, *rest = map(str, words)
        more: list[str] = []
        if first == "podman":
            more = ["--cgroup-manager=cgroupfs", "--events-backend=file"]
        argv = [first, *options, "--storage-driver=vfs", *more, *rest]
        return run_program(argv, check=check, env=environment)

    return run


def test_buildah(engine: Callable[..., Completed], program: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy("/usr/bin/busybox", context / "busybox")
    (context / "Dockerfile").write_text(
        "FROM scratch\n"
        "COPY busybox /bin/sh\n"
        "COPY busybox /bin/busybox\n"
        "ENV NAME=value\n"
        "RUN /bin/busybox id -u; echo $NAME; echo kept >/file\n"
        "WORKDIR /work\n"
        "RUN /bin/busybox pwd; /bin/busybox cat /file; echo told >&2; exit 6\n"
    )
    words = ["--isolation=oci", f"--runtime={program}", "--network=host", "--runtime-flag=debug"]
    done = engine("buildah", "build", *words, context)
    assert done.returncode == 6, done
    output = [line for line in done.stdout.splitlines() if not line.startswith("STEP")]
    assert output == ["0", "value", "/work", "kept"]
    assert "told" in done.stderr
    # Nothing of the containers is left.
    assert list((tmp_path / "engine/run/sundog/oci").iterdir()) == []


def test_podman(engine: Callable[..., Completed], program: Path, rootfs: Path) -> None:
    words = [f"--runtime={program}"]
    run = ["run", "--network=host", "--rootfs", rootfs]
    done = engine("podman", *words, run[0], "--rm", *run[1:], "sh", "-c", "id -u; exit 4")
    assert (done.returncode, done.stdout) == (4, "0\n"), done
    done = engine("podman", *words, run[0], "--rm", *run[1:], "nope")
    assert done.returncode == 127  # Podman knows the message
    done = engine("podman", *words, run[0], "-d", "--name=n", *run[1:], "sleep", "70")
    assert done.returncode == 0, done
    done = engine("podman", *words, "exec", "n", "sh", "-c", "ps | grep -c '[s]leep 70'; exit 3")
    assert (done.returncode, done.stdout.strip()) == (3, "1"), done
    assert engine("podman", *words, "stop", "-t=0", "n").returncode == 0
    done = engine("podman", *words, "inspect", "--format={{.State.ExitCode}}", "n")
    assert done.stdout == "137\n"
    assert engine("podman", *words, "rm", "-f", "n").returncode == 0


# runc as an oracle


def test_like_runc(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The state, exit statuses, and what a container shows."""
    ids = {"uidMappings": os.geteuid(), "gidMappings": os.getegid()}

    def change(config: Json) -> None:
        for key, host in ids.items():
            config["linux"][key] = [{"containerID": 0, "hostID": host, "size": 1}]
        config["mounts"][2]["options"].pop()  # gid=5, which runc refuses
        config["mounts"][3] |= {"type": "none", "source": "/sys", "options": ["rbind", "ro"]}
        config["process"]["capabilities"] = {
            kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")
        }
        config["linux"]["maskedPaths"] = ["/proc/keys"]
        config["linux"]["readonlyPaths"] = ["/proc/sys"]

    script = """
    id -u; pwd; hostname; env | grep -v SHLVL; ls /dev | grep -v -e console -e mqueue -e core
    grep Cap /proc/self/status; touch /x 2>/dev/null || echo ro; echo $$; umask
    stat -c '%t:%T' /proc/keys; grep -c ' /tmp ' /proc/self/mountinfo; exit 5
    """
    path = bundle(script, change)
    theirs = ["runc", "--root", str(tmp_path / "theirs")]
    # The output is a file: runc's processes keep a pipe open.
    with (tmp_path / "out").open("w") as out:
        expected = subprocess.run([*theirs, "run", "-b", path, "c"], stdout=out, check=False)
    done = oci("run", "-b", path, "c", check=False)
    assert done.status == expected.returncode == 5
    assert sorted(done.stdout.split()) == sorted((tmp_path / "out").read_text().split())
    states = []
    for argv in (theirs, oci.argv()):
        with (tmp_path / "out").open("w") as out:
            subprocess.run([*argv, "create", "-b", path, "d"], stdin=out, stdout=out, check=True)
        shown = subprocess.run([*argv, "state", "d"], capture_output=True, check=True)
        states.append(json.loads(shown.stdout))
        again = subprocess.run(
            [*argv, "create", "-b", path, "d"], stderr=subprocess.DEVNULL, check=False
        )
        missing = subprocess.run([*argv, "state", "x"], capture_output=True, check=False)
        states[-1] |= {"again": again.returncode, "missing": missing.returncode}
        subprocess.run([*argv, "delete", "--force", "d"], check=True)
    kept = ("id", "status", "bundle", "again", "missing")
    assert [{key: state[key] for key in kept} for state in states] == [
        {"id": "d", "status": "created", "bundle": str(path), "again": 1, "missing": 1}
    ] * 2


# Bundles of images


def test_oci_bundle(
    oci: Runtime, run_ch_image: Runner, bb: str, storage: Path, tmp_path: Path
) -> None:
    """The layers are not copied; the environment does not have to name the storage."""
    path = tmp_path / "made"
    run_ch_image("oci-bundle", bb, path)
    assert sorted(entry.name for entry in path.iterdir()) == ["config.json", "rootfs"]
    assert list((path / "rootfs").iterdir()) == []
    config = json.loads((path / "config.json").read_text())
    config["process"]["args"] = ["sh", "-c", "id -u; ls -d /ch; touch /x 2>/dev/null || echo ro"]
    (path / "config.json").write_text(json.dumps(config))
    done = oci("run", "-b", path, "c")
    assert (done.stdout, done.stderr) == (f"{os.geteuid()}\n/ch\nro\n", "")
    config["root"]["readonly"] = False
    config["process"]["args"] = ["sh", "-c", "echo new >/x; cat /x"]
    (path / "config.json").write_text(json.dumps(config))
    assert oci("run", "-b", path, "c").stdout == "new\n"
    assert not list(storage.glob("**/x"))
    failed = run_ch_image("oci-bundle", bb, path, check=False)
    assert (failed.returncode, failed.stderr.splitlines()[0]) == (1, f"error: {path} exists")
    failed = run_ch_image("oci-bundle", "nope", tmp_path / "no", check=False)
    assert (failed.returncode, (tmp_path / "no").exists()) == (1, False)
    run_ch_image("delete", bb)
    failed_run = oci("run", "-b", path, "c", check=False)
    assert "no image docker.io/library/bb:latest in the storage" in failed_run.messages()[0]["msg"]


def test_another_runtime_takes_the_bundle(
    run_ch_image: Runner, bb: str, storage: Path, tmp_path: Path
) -> None:
    """With a copy of the image in rootfs, runc runs the same configuration."""
    path = tmp_path / "made"
    run_ch_image("oci-bundle", bb, path)
    (path / "rootfs").rmdir()
    run_program(
        [*command("ch-convert"), bb, path / "rootfs"], env={"CH_IMAGE_STORAGE": str(storage)}
    )
    file = path / "config.json"
    config = json.loads(file.read_text())
    config["process"] |= {"args": ["/bin/true"], "user": {"uid": 0, "gid": 0}}
    for kind in ("uidMappings", "gidMappings"):  # runc wants a user 0
        config["linux"][kind][0]["containerID"] = 0
    file.write_text(json.dumps(config))
    with (tmp_path / "out").open("w") as out:
        argv = ["runc", "--root", str(tmp_path / "runc"), "run", "-b", str(path), "c"]
        other = subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, check=False)
    assert other.returncode == 0, (tmp_path / "out").read_text()


def test_a_bundle_of_one_file(oci: Runtime, bundle: Bundle, rootfs: Path, tmp_path: Path) -> None:
    """root.path may be a SquashFS file, read-only or, with an overlay, writable."""
    file = tmp_path / "image.sqfs"
    subprocess.run(["mksquashfs", rootfs, file, "-quiet", "-no-progress"], check=True)
    for read_only, script, output in (
        (True, "touch /x 2>/dev/null || echo ro", "ro\n"),
        (False, "echo new >/x; cat /x", "new\n"),
    ):

        def change(config: Json, read_only: bool = read_only) -> None:
            config["root"] = {"path": str(file), "readonly": read_only}

        assert oci("run", "-b", bundle(script, change), "c").stdout == output


def test_emulated_root(oci: Runtime, bundle: Bundle) -> None:
    script = "touch /tmp/x; busybox chown 12:34 /tmp/x && echo done"
    plain = oci("run", "-b", bundle(script), "c", check=False)
    assert plain.status == 1
    annotated = bundle(script, lambda c: c.update(annotations={"org.sundog.force": "seccomp"}))
    assert oci("run", "-b", annotated, "c").stdout == "done\n"
    options = ["--force=seccomp"]
    assert oci("run", "-b", bundle(script), "c", options=options).stdout == "done\n"
    failed = oci("run", "-b", bundle(script), "c", options=["--force=x"], check=False)
    assert failed.status == 1


# Slurm


def recipes() -> list[dict[str, str]]:
    """Return the settings of the recipes of oci.conf in docs/how-to/slurm.md."""
    text = (DOCS / "how-to" / "slurm.md").read_text()
    found = re.findall(r"```\n# oci\.conf.*?\n(.*?)```", text, re.DOTALL)
    return [
        dict(re.match(r'(\w+)="?(.*?)"?$', line).groups() for line in recipe.splitlines() if line)  # type: ignore[union-attr, misc]
        for recipe in found
    ]


class Step:
    """A job step on one node, as slurmstepd replaces the patterns of oci.conf."""

    def __init__(self, recipe: dict[str, str], bundle: str, rootfs: str, spool: Path) -> None:
        self.recipe = recipe
        self.spool = spool
        self.values = {
            "%": "%",
            "b": bundle,
            "e": str(spool / "environment"),
            "j": str(os.getpid()),  # the state directory is that of all of this user's jobs
            "m": str(spool),
            "n": "node1",
            "r": rootfs,
            "s": "0",
            "t": "0",
            "u": "ada",
            "U": str(os.geteuid()),
        }

    def line(self, name: str, args: list[str], **more: str) -> list[str]:
        """Return the command of a setting: Slurm gives it to a shell."""
        quoted = " ".join("'" + arg.replace("'", "'\"'\"'") + "'" for arg in args)
        values = self.values | {"@": quoted} | more

        def replaced(match: re.Match[str]) -> str:
            return values[match[1]]

        return ["/bin/sh", "-c", re.sub("%(.)", replaced, self.recipe[name])]


@pytest.fixture
def slurm_environment(program: Path, tmp_path: Path, storage: Path) -> Mapping[str, str]:
    """Return the environment of a job step, in which Sundog's commands are found."""
    ch_run = program.with_name("ch-run")
    ch_run.write_text(f'#!/bin/sh\nexec {shlex.join(command("ch-run"))} "$@"\n')
    ch_run.chmod(0o755)
    (tmp_path / "run").mkdir(mode=0o700)
    return {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "CH_IMAGE_STORAGE": str(storage),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "SLURM_JOB_ID": "17",
    }


def test_slurm_with_bundles(
    run_ch_image: Runner, bb: str, slurm_environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Recipe 1: srun --container=BUNDLE."""
    recipe, _ = recipes()
    made = tmp_path / "made"
    run_ch_image("oci-bundle", bb, made)
    # slurmstepd writes a bundle of its own into its spool directory: container.c, _modify_config.
    spool = tmp_path / "spool"
    spool.mkdir()
    config = json.loads((made / "config.json").read_text())
    config["process"] |= {
        "terminal": False,
        "env": [*config["process"]["env"], "SLURM_PROCID=3", "ODD=a b'\"$HOME"],
        "args": ["sh", "-c", "echo $SLURM_PROCID/$ODD; cat /tmp/step/file; sleep 0.5; exit 7"],
    }
    config["root"]["path"] = str(made / "rootfs")
    config["mounts"].append(
        {
            "destination": "/tmp/step",
            "type": "none",
            "source": str(spool),
            "options": ["bind"],
        }
    )
    (spool / "config.json").write_text(json.dumps(config))
    (spool / "file").write_text("of the step\n")
    step = Step(recipe, str(spool), str(made / "rootfs"), spool)
    argv = step.line("RunTimeRun", ["ignored"])
    with subprocess.Popen(
        argv, env=slurm_environment, stdout=subprocess.PIPE, cwd=spool, text=True
    ) as task:
        *shell, line = step.line("RunTimeDelete", [])
        query = [*shell, line.replace("delete --force", "state")]

        def status() -> str:
            done = subprocess.run(query, env=slurm_environment, capture_output=True, check=False)
            return str(json.loads(done.stdout)["status"]) if not done.returncode else ""

        until(lambda: status() == "running")
        assert task.stdout is not None
        assert task.stdout.read() == "3/a b'\"$HOME\nof the step\n"
    assert task.returncode == 7
    assert status() == ""
    config["process"]["args"] = ["sleep", "80"]
    (spool / "config.json").write_text(json.dumps(config))
    with subprocess.Popen(argv, env=slurm_environment, cwd=spool) as killed:
        until(lambda: status() == "running")
        subprocess.run(step.line("RunTimeKill", []), env=slurm_environment, check=True)
        assert killed.wait() == 128 + 15
    done = subprocess.run(step.line("RunTimeDelete", []), env=slurm_environment, check=False)
    assert (done.returncode, status()) == (0, "")


def test_what_slurm_asks(slurm_environment: Mapping[str, str], tmp_path: Path) -> None:
    """slurmstepd reads RunTimeQuery's answer as JSON, without the backslashes that end a line."""
    for recipe in recipes():
        query = recipe["RunTimeQuery"].replace("\\\\", "\\")
        argv = Step({"q": query}, "/", "/", tmp_path).line("q", [])
        done = subprocess.run(argv, env=slurm_environment, capture_output=True, check=True)
        assert json.loads(done.stdout) == {"status": "stopped"}


def test_the_files_of_a_step_of_slurm(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The directory with the bundle and the session of PMIx is shown; no other is."""
    step, elsewhere = tmp_path / "step", tmp_path / "elsewhere"
    for place in (step / "pmix.1.0", step / "spmix_appdir_1_1.0", elsewhere / "pmix.1.0"):
        place.mkdir(parents=True)
    script = f"cat {step}/file; ls {step} {elsewhere}"
    (step / "file").write_text("shared\n")
    for place, seen in ((step, ["file", "pmix.1.0"]), (elsewhere, [])):
        variable = f"PMIX_SERVER_TMPDIR={place}//pmix.1.0/"
        path = bundle(script, lambda c, v=variable: c["process"]["env"].append(v), "step/task-0")
        done = oci("run", "-b", path, place.name, check=False)
        assert [line for line in done.stdout.split() if line in seen] == seen, done
        assert ("shared" in done.stdout) is bool(seen)


@pytest.fixture(params=["name", "path", "file"])
def given(
    request: pytest.FixtureRequest, bb: str, storage: Path, tmp_path: Path, rootfs: Path
) -> str:
    """Return what a user gives to --container."""
    if request.param == "name":
        return bb
    if request.param == "path":
        (path,) = (storage / "images").iterdir()
        return str(path)
    file = str(tmp_path / "my image.sqfs")
    subprocess.run(["mksquashfs", rootfs, file, "-quiet", "-no-progress"], check=True)
    return file


def test_slurm_with_names(given: str, slurm_environment: Mapping[str, str], tmp_path: Path) -> None:
    """Recipe 2: srun --container=IMAGE, a name, a path in storage or a SquashFS file."""
    _, recipe = recipes()
    spool = tmp_path / "spool"
    spool.mkdir()
    end = b"\0" if recipe["CreateEnvFile"] == "null" else b"\n"
    strings = [b"SLURM_PROCID=3", b"ODD=a b'\"$HOME", b"LINES=1\n2"]
    (spool / "environment").write_bytes(end.join([*strings, b""]))
    (spool / "file").write_text("of the step\n")
    step = Step(recipe, given, given, spool)
    script = 'echo "$SLURM_PROCID/$ODD"; echo "$LINES" | wc -l; cat "$0"; exit 7'
    argv = step.line("RunTimeRun", ["sh", "-c", script, str(spool / "file")])
    environment = {**slurm_environment, "HOME": str(tmp_path)}
    done = subprocess.run(
        argv, env=environment, capture_output=True, cwd=spool, text=True, check=False
    )
    assert done.stdout == "3/a b'\"$HOME\n2\nof the step\n", done
    assert done.returncode == 7
    with subprocess.Popen(
        step.line("RunTimeRun", ["sleep", "81"]), env=environment, cwd=spool
    ) as task:
        until(lambda: Path(f"/proc/{task.pid}/cmdline").read_bytes() == b"sleep\x0081\0")
        subprocess.run(step.line("RunTimeKill", [], p=str(task.pid)), check=True)
        assert task.wait() == -15


@pytest.mark.parametrize("joins", [False, True], ids=["run", "exec"])
def test_a_terminal(oci: Runtime, bundle: Bundle, joins: bool) -> None:
    """run and exec without --console-socket relay the caller's terminal."""
    script = "tty; read line; echo got $line; exit 5"
    words = ["run", "-b", str(bundle(script, lambda c: c["process"].update(terminal=True))), "c"]
    if joins:
        oci("create", "-b", bundle("sleep 60"), "c")
        oci("start", "c")
        words = ["exec", "--tty", "c", "sh", "-c", script]
    pid, fd = pty.fork()
    if pid == 0:
        argv = [*oci.argv(), *words]
        os.execv(argv[0], argv)
    output = b""
    while b"/dev/pts/" not in output:
        output += os.read(fd, 1000)
    os.write(fd, b"text\n")
    while b"got text" not in output:
        output += os.read(fd, 1000)
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 5


@pytest.mark.parametrize("joins", [False, True], ids=["run", "exec"])
def test_signals_pass_beside_input_that_nobody_reads(
    oci: Runtime, bundle: Bundle, tmp_path: Path, joins: bool
) -> None:
    script = "trap 'exit 6' TERM; echo ready; while :; do sleep 0.1; done"
    words = ["run", "-b", str(bundle(script, lambda c: c["process"].update(terminal=True))), "c"]
    if joins:
        oci("create", "-b", bundle("sleep 60"), "c")
        oci("start", "c")
        words = ["exec", "--tty", "c", "sh", "-c", script]
    typed = tmp_path / "typed"
    typed.write_bytes(b"nobody reads this\n" * 20_000)
    with (
        typed.open("rb") as stdin,
        subprocess.Popen([*oci.argv(), *words], stdin=stdin, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        output = b""
        while b"ready" not in output:
            output += os.read(process.stdout.fileno(), 1000)
        process.terminate()
        assert process.wait(30) == 6


def test_input_from_a_file_ends(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    typed.write_bytes(b"echo $((6*7))\n")
    place = bundle("exec sh -i", lambda c: c["process"].update(terminal=True))
    with typed.open("rb") as stdin:
        done = subprocess.run(
            [*oci.argv(), "run", "-b", place, "c"],
            check=False,
            stdin=stdin,
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == 0
    assert b"\r\n42\r\n" in done.stdout
