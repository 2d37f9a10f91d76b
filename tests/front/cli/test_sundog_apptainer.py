"""``sundog apptainer``: real containers of images in storage, of directories, and of SIFs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sundog.front.apptainer.command import after_scripts
from sundog.front.apptainer.links import entry_texts
from sundog.front.apptainer.variables import DEFAULT_PATH, Environment
from sundog.front.cli.sundog_apptainer import VERSION
from tests.conftest import Completed, command, run_program
from tests.image.convert.formats import make_sif
from tests.image.registry.servers import InProcessRegistry
from tests.runtime.fuse.conftest import make_squashfs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RANKS = int(os.environ.get("SUNDOG_RANKS", "8"))  # `make callers` starts 64
DOCKER = 'export PATH="/x:/bin"\nexport DOCK="${DOCK:-"image"}"\n'
AWAY = {"HOME": "/home/ada"}  # not below /var/tmp
CUSTOM = "export FOO=${FOO:-default}\n"
SUBSTITUTED = "export SUB=$(echo sub)\nexport MORE=$SUB$FOO\n"

# It becomes the shell, as ``ch-run`` does, within half a second.
LIMITED = """
import os, sys
from sundog.front.cli.apptainer_limit import with_limit
option, *_ = with_limit(["x", "--"], 0.5)
os.environ["SUNDOG_LIMIT"] = option.partition("=")[2].partition("=")[2].strip("'")
os.execv("/bin/sh", ["sh", "-c", sys.argv[1], "sh", sys.argv[1], "sleep", "1"])
"""
# As Apptainer writes them: the places of all apps, and the choice of one.
APPS_SCRIPTS = {
    "94-appsbase.sh": """
SCIF_APPROOT_hello=/scif/apps/hello
SCIF_APPBIN_hello=/scif/apps/hello/bin
export SCIF_APPROOT_hello SCIF_APPBIN_hello
""",
    "95-apps.sh": """
if test -n "${SINGULARITY_APPNAME:-}"; then
    app=/scif/apps/$SINGULARITY_APPNAME
    if test ! -d "$app"; then exit 1; fi
    SCIF_APPROOT=$app
    PATH="$app/bin:$app:/scif/apps/singularity:$PATH"
    if test -d "$app/lib"; then
        export LD_LIBRARY_PATH="$app/lib:${LD_LIBRARY_PATH:-/.singularity.d/libs}"
    fi
    for script in 01-base.sh 90-environment.sh; do
        if [ -f "$app/scif/env/$script" ]; then . "$app/scif/env/$script"; fi
    done
    export SCIF_APPROOT PATH
fi
""",
}


class Place:
    """A storage directory with the image bb, directories with its files, and a SIF."""

    def __init__(self, path: Path, busybox: Path) -> None:
        self.path = path
        self.home = path / "home"
        self.work = path / "work"
        for directory in (self.home, self.work, path / "run"):
            directory.mkdir(mode=0o700)
        self.environment = {
            "CH_IMAGE_STORAGE": str(path / "storage"),
            "XDG_RUNTIME_DIR": str(path / "run"),
            "HOME": str(self.home),
            "TMPDIR": "",
        }
        run_program([*command("ch-image"), "import", busybox, "bb"], env=self.environment)
        self.sandbox = path / "sandbox"
        self.sandbox.mkdir()
        subprocess.run(["tar", "-xf", busybox, "-C", self.sandbox], check=True)
        metadata = self.sandbox / ".singularity.d"
        (metadata / "env").mkdir(parents=True)
        (metadata / "env/10-docker2singularity.sh").write_text(DOCKER)
        (metadata / "env/90-environment.sh").write_text(CUSTOM)
        for name in ("runscript", "test"):
            text = f'#!/bin/sh\necho {name} "$@" $FOO $SINGULARITY_NO_EVAL\nexit 3\n'
            (metadata / name).write_text(text)
            (metadata / name).chmod(0o755)
        squashfs = make_squashfs(self.sandbox, path / "squashfs")
        self.sif = path / "x.sif"
        self.sif.write_bytes(make_sif(squashfs.read_bytes()))
        self.sif.chmod(0o755)

    def run(
        self,
        *words: str | Path,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        """Run ``sundog apptainer``."""
        argv = [*command("sundog"), "apptainer", *map(str, words)]
        environment = self.environment | dict(env or {})
        return run_program(argv, check=check, env=environment, cwd=cwd or self.work)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    return Place(tmp_path_factory.mktemp("apptainer"), busybox_tar)


def test_version(place: Place) -> None:
    """Callers take the digits of the first, the last word of it, or all of the second."""
    text = place.run("--version").stdout
    assert text == f"apptainer version {VERSION}\n"
    found = re.match("(.+) version ([0-9.]+)", text)
    assert found is not None
    assert found[2] == "1.4.5"
    assert place.run("version").stdout == f"{VERSION}\n"
    assert "--containall" in place.run("exec", "--help").stdout
    assert place.run("help", "exec").stdout == place.run("exec", "--help").stdout


@pytest.mark.parametrize("kind", ["docker", "sandbox", "sif"])
def test_what_a_container_shows(place: Place, kind: str) -> None:
    """Home, working directory and temporary files are the host's; the image is read-only."""
    image = str({"docker": "docker://bb", "sandbox": place.sandbox, "sif": place.sif}[kind])
    script = 'pwd; cd; pwd; echo made > "$OLDPWD/file"; id -u; umask; : > /new'
    done = place.run("exec", image, "sh", "-c", script, check=False)
    umask = os.umask(0o022)
    os.umask(umask)
    expected = [str(place.work), str(place.home), str(os.geteuid()), f"{umask:04o}"]
    assert done.stdout.splitlines() == expected
    assert done.returncode
    assert "Read-only file system" in done.stderr
    made = place.work / "file"
    assert made.read_text() == "made\n"
    assert made.stat().st_uid == os.geteuid()
    made.unlink()


def test_statuses_and_messages(place: Place) -> None:
    def told(*words: str | Path) -> tuple[int, str, str]:
        done = place.run(*words, check=False)
        return done.returncode, done.stdout, done.stderr.partition("\n")[0]

    assert told("exec", "docker://bb", "false") == (1, "", "")
    assert told("exec", "docker://bb", "sh", "-c", "kill -9 $$") == (-9, "", "")
    missing = (255, "", 'FATAL:   "nosuch": executable file not found in $PATH')
    assert told("exec", "docker://bb", "nosuch") == missing
    assert told("exec", place.sif, "nosuch") == missing
    status, _, text = told("exec", "docker://bb", "/etc/passwd")
    assert (status, text.startswith("FATAL:   ")) == (255, True)
    status, _, text = told("exec", "nosuch.sif", "true")
    assert (status, text.startswith("FATAL:   could not open image /")) == (255, True)
    assert told("exec", "docker://bb")[::2] == (1, "FATAL:   exec: no command")
    assert told("exec", "--blind", "docker://bb")[::2] == (1, "FATAL:   unknown option: --blind")
    assert told("exac", "docker://bb")[0] == 1
    assert told()[0] == 1
    assert told("exec", "--bind", "/nosuch:/x", "docker://bb", "true")[0] == 255
    warned = "WARNING: Could not find any nv files on this host!"
    nv = ("exec", "--cdi-dirs", place.work, "--nv", "docker://bb", "true")
    assert told("-q", *nv) == (0, "", warned)
    assert told("-s", *nv) == (0, "", "")
    assert told("-v", "exec", "docker://bb", "true")[2].startswith("VERBOSE: ")
    missing = (0, "", "INFO:    No runscript found in container, executing /bin/sh into")
    assert told("run", "docker://bb") == missing
    assert told("-q", "run", "docker://bb") == (0, "", "")
    assert told("run", "docker://bb", "echo", "x") == (0, "x\n", "")


@pytest.mark.parametrize("kind", ["sandbox", "sif"])
def test_scripts_of_an_image(place: Place, kind: str) -> None:
    image = {"sandbox": place.sandbox, "sif": place.sif}[kind]
    env = {"FOO": "host", "DOCK": "host"}
    done = place.run("exec", image, "sh", "-c", "echo $FOO $DOCK $PATH", env=env)
    rest = DEFAULT_PATH.replace(":/bin", "")
    assert done.stdout == f"host image /x:/bin:{rest}\n"
    done = place.run("run", image, "a  b", "c", check=False)
    assert (done.returncode, done.stdout) == (3, "runscript a  b c default\n")
    done = place.run("run", "--no-eval", image, check=False)
    assert done.stdout == "runscript default 1\n"
    done = place.run("test", image, check=False)
    assert (done.returncode, done.stdout) == (3, "test default\n")
    assert place.run("shell", image, "-c", "echo $FOO").stdout == "default\n"


def test_a_script_that_needs_a_shell(place: Place, tmp_path: Path) -> None:
    """A shell of the image reads it, and then the values of the user."""
    script = tmp_path / "script"
    script.write_text(SUBSTITUTED)
    image = tmp_path / "image"
    shutil.copytree(place.sandbox, image, symlinks=True)
    shutil.copy(script, image / ".singularity.d/env/95-more.sh")
    words = ["--env", 'A=$SUB"`echo `$NO', str(image), "sh", "-c", 'echo "$MORE" "$A"; env']
    done = place.run("exec", *words, env={"FOO": "x"})
    assert done.stdout.startswith('subx sub"\n')
    assert "SUNDOG_" not in done.stdout
    (image / ".singularity.d/env/95-more.sh").write_text("export SEEN=$SUNDOG_LIMIT$(echo)\n")
    done = place.run("exec", image, "sh", "-c", "echo $SEEN; ls -l /proc/self/fd | grep -c pipe")
    told, pipes = done.stdout.split()
    assert 3 <= int(told) <= 9
    assert pipes == "2"  # no descriptor is left of the limit
    shutil.copy(script, image / ".singularity.d/env/95-more.sh")
    done = place.run("exec", image, "nosuch", check=False)
    assert (done.returncode, done.stderr) == (
        *(255, 'FATAL:   "nosuch": executable file not found in $PATH\n'),
    )
    assert place.run("exec", image, "sh", "-c", "exit 5", check=False).returncode == 5


@pytest.mark.parametrize("script", ["while :; do :; done", "trap '' ALRM; while :; do :; done"])
def test_scripts_that_do_not_end(place: Place, tmp_path: Path, script: str) -> None:
    """They get their time, and no more; a command gets all the time it wants."""
    names = tmp_path / "env"
    names.mkdir()
    (names / "x.sh").write_text(script)
    program = after_scripts(["sleep", "1"], Environment({}, ["x.sh"], [], [], []))[2]
    for text, status in ((program.replace("/.singularity.d", str(tmp_path)), 255), (program, 0)):
        with subprocess.Popen(
            [sys.executable, "-c", LIMITED, text],
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        ) as process:
            _, said = process.communicate(timeout=60)
        expected = -signal.SIGKILL if status and "trap" in script else status
        assert process.returncode == expected
        assert said.startswith(b"FATAL:   the scripts of variables") == bool(status)


def test_an_image_without_a_shell(place: Place, tmp_path: Path) -> None:
    for name in ("bin", "dev", "proc", "sys", "tmp", "etc", ".singularity.d/env"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(place.sandbox / "bin/busybox", tmp_path / "bin/env")
    (tmp_path / ".singularity.d/env/90-environment.sh").write_text(CUSTOM)
    done = place.run("exec", "--env", "BAR=$FOO!", tmp_path, "env")
    assert {"FOO=default", "BAR=default!"} <= set(done.stdout.splitlines())


def test_accounts(place: Place) -> None:
    """The image's accounts stay, and the caller is one of them."""
    own = (place.sandbox / "etc/passwd").read_text().splitlines()
    for image in ("docker://bb", place.sandbox, place.sif):
        script = "id -un; cat /etc/passwd"
        name, *lines = place.run("exec", image, "sh", "-c", script).stdout.splitlines()
        assert lines[:-1] == own
        assert lines[-1].startswith(f"{name}:x:{os.geteuid()}:{os.getegid()}:")


def test_an_image_with_little_in_it(place: Place, tmp_path: Path) -> None:
    """Missing mount points are made, and links that lead nowhere do no harm."""
    image = tmp_path / "image"
    (image / "bin").mkdir(parents=True)
    for name in ("sh", "ls", "cat"):
        shutil.copy(place.sandbox / "bin/busybox", image / "bin" / name)
    (image / "etc").mkdir()
    (image / "etc/localtime").symlink_to("/usr/share/zoneinfo/Nowhere")
    (image / "dev").mkdir()
    before = sorted(path.name for path in image.rglob("*"))
    script = "ls -d /proc/self /sys/kernel /tmp/. /dev/null /var/tmp/. && cat /etc/passwd"
    done = place.run("exec", image, "sh", "-c", script)
    assert f":{os.geteuid()}:" in done.stdout.splitlines()[-1]
    if os.path.exists("/etc/localtime"):
        assert place.run("exec", image, "cat", "/etc/localtime").stdout
    assert sorted(path.name for path in image.rglob("*")) == before


def test_storage_is_covered(place: Place, tmp_path: Path) -> None:
    """It lies in /var/tmp, which every container shows; so does a directory above it."""
    storage = place.path / "storage"
    assert (storage / "images").exists()
    overlay = ["--overlay", str(tmp_path)]
    for options in (
        *([], ["--fakeroot"], ["--pid", "--ipc"], ["-B", f"{place.path}:/mnt"]),
        *(overlay, [*overlay, "--fakeroot"]),
    ):
        words = ["exec", *options, "docker://bb", "sh", "-c"]
        script = (
            f"ls -A {storage} {place.path}/run/sundog /mnt/storage 2>/dev/null; : > {storage}/x"
        )
        done = place.run(*words, script, check=False)
        names = {line for line in done.stdout.split() if not line.endswith(":")}
        assert names == set(), options
        assert done.returncode, options
    assert not (storage / "x").exists()


def test_run_of_an_image_of_a_registry(place: Place, tmp_path: Path) -> None:
    """ENTRYPOINT and CMD, and words that are evaluated once more, unless with --no-eval."""
    text = 'FROM bb\nENV A="$B c"\nENTRYPOINT ["echo"]\nCMD ["cmd", "$A"]\nWORKDIR /usr\nUSER 1\n'
    (tmp_path / "Dockerfile").write_text(text.replace("$B", "\\$B"))
    argv = [*command("ch-image"), "build", "-t", "entry", str(tmp_path)]
    run_program(argv, env=place.environment)
    assert place.run("run", "docker://entry").stdout == "cmd $B c\n"
    assert place.run("run", "docker://entry", "$A", 'a "b  c"').stdout == "$B c a b c\n"
    done = place.run("run", "--no-eval", "docker://entry", "$A", 'a "b  c"')
    assert done.stdout == '$A a "b  c"\n'
    done = place.run("exec", "docker://entry", "sh", "-c", 'echo "$A"; pwd; id -u')
    assert done.stdout.splitlines() == ["$B c", str(place.work), str(os.geteuid())]


def test_options_in_a_container(place: Place, tmp_path: Path) -> None:
    """Each option does what it says; one start tries several."""
    (tmp_path / "in").write_text("in\n")
    words = ["exec", "--contain", "--writable-tmpfs", "--pwd", "/new/dir"]
    words += ["--env", "PATH=$PATH:/foo", "-B", f"{tmp_path}:/new/dir,{tmp_path}/in:/a/b:ro"]
    words += ["--scratch", "/scratch", "docker://bb"]
    script = 'pwd; cat in; ls -A ~ /tmp /var/tmp /scratch; : > ~/x; : > /x; echo "${PATH##*:}"'
    script += "; touch /a/b 2>/dev/null || echo read-only; echo $APPTAINER_NAME"
    lines = place.run(*words, "sh", "-c", script).stdout.split()
    assert lines[:2] == ["/new/dir", "in"]
    assert lines[-3:] == ["/foo", "read-only", "bb"]
    top = place.home.parts[3]  # the way to the home directory
    assert set(lines[2:-3]) == {f"{place.home}:", "/tmp:", "/var/tmp:", "/scratch:", top}
    assert list(place.home.iterdir()) == []


def test_own_devices(place: Place) -> None:
    """--contain shows few devices, terminals of its own, and what the user asks for."""
    script = "ls /dev; echo x > /dev/null && echo > /dev/shm/x; ls /dev/pts /dev/shm; tty </dev/tty"
    seen = set()
    for image in ("docker://bb", place.sif, place.sandbox):
        words = ("exec", "--contain", "-B", "/dev/kmsg", image, "sh", "-c")
        seen.add(place.run(*words, script, check=False).stdout)
    usual = "console fd full kmsg null ptmx pts random shm stderr stdin stdout tty urandom zero"
    [text] = seen
    assert set(text.split()) == {*usual.split(), "/dev/pts:", "/dev/shm:", "x"} - {"console"}
    assert not os.path.exists("/dev/shm/x")
    master, slave = os.openpty()
    argv = [*command("sundog"), "apptainer", "exec", "-c", "docker://bb", "sh", "-c"]
    argv.append("test -c /dev/console && echo > /dev/console; ls /dev/pts")
    environment = os.environ | place.environment
    done = subprocess.run(
        argv, check=True, env=environment, cwd=place.work, stdin=slave, capture_output=True
    )
    os.close(slave)
    assert done.stdout == b"ptmx\n"
    assert os.read(master, 9) == b"\r\n"
    os.close(master)


def test_namespaces(place: Place) -> None:
    """The network has lo only, and it is up; the name of the machine is the container's."""
    script = "hostname; ip -o -4 addr | sed 's/ *scope.*//'; readlink /proc/self/ns/ipc; id -u"
    words = ["--net", "--network", "none", "--ipc", "--hostname", "inside", "docker://bb"]
    name, address, ipc, uid = place.run("exec", *words, "sh", "-c", script).stdout.splitlines()
    assert name == "inside"
    assert address.split()[1:] == ["lo", "inet", "127.0.0.1/8"]
    assert ipc != os.readlink("/proc/self/ns/ipc")
    assert uid == str(os.geteuid())


def test_processes(place: Place) -> None:
    """A PID namespace ends with its command, and /proc shows its processes only."""
    script = "sleep 1000 & echo $$; ls /proc | grep -c '^[0-9]*$'; exit 6"
    done = place.run("exec", "--pid", "docker://bb", "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (6, "2")
    assert int(done.stdout.split()[1]) < 9
    words = ["--containall", "--no-init", "docker://bb", "sh", "-c"]
    assert place.run("exec", *words, "echo $$").stdout == "1\n"
    words = ["--containall", "--no-pid", "docker://bb", "sh", "-c"]
    assert place.run("exec", *words, "echo $$").stdout != "1\n"
    done = place.run("exec", "-p", place.sif, "sh", "-c", "kill -9 $$", check=False)
    assert done.returncode == 137
    script = "id -u; chown 1:2 /tmp/.; stat -c %u /tmp"
    done = place.run("exec", "--containall", "--fakeroot", place.sif, "sh", "-c", script)
    assert done.stdout.split() == ["0", "1"]
    # The init is nobody's business.
    done = place.run("exec", "-p", "docker://bb", "sh", "-c", "ls /proc/1/fd", check=False)
    assert done.returncode


def test_a_signal_reaches_the_command(place: Place) -> None:
    script = "trap 'echo got; exit 4' TERM; echo ready; while :; do sleep 0.1; done"
    argv = [*command("sundog"), "apptainer", "exec", "--pid", "docker://bb", "sh", "-c", script]
    environment = os.environ | place.environment
    with subprocess.Popen(argv, env=environment, cwd=place.work, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.stdout.read() == b"got\n"
        assert process.wait(60) == 4


def test_fakeroot(place: Place) -> None:
    script = "id -u; echo $HOME; umask; : > ~/file; chown 1:2 ~/file; stat -c %u:%g ~/file"
    done = place.run("exec", "--fakeroot", place.sif, "sh", "-c", script)
    assert done.stdout.split() == ["0", "/root", "0022", "1:2"]
    assert (place.home / "file").stat().st_uid == os.geteuid()
    (place.home / "file").unlink()


def test_a_directory_is_written_to(place: Place, tmp_path: Path) -> None:
    image = tmp_path / "image"
    shutil.copytree(place.sandbox, image, symlinks=True)
    place.run("exec", "--writable", image, "sh", "-c", ": > /new")
    assert (image / "new").exists()
    done = place.run("exec", "-w", place.sif, "true", check=False)
    assert (done.returncode, "--writable" in done.stderr) == (255, True)


def test_overlays(place: Place, tmp_path: Path) -> None:
    """Changes stay in a directory, with their owners; a file is refused with what to do."""
    overlay = tmp_path / "overlay"
    done = place.run("overlay", "create", "--size", "64", "--create-dir", "/made/in", overlay)
    assert done.stderr.splitlines()[0].startswith("WARNING: --size 64 has no effect")
    for image in ("docker://bb", place.sandbox, place.sif):
        words = ("exec", "--fakeroot", "--overlay", "overlay", image, "sh", "-c")
        place.run(*words, "rmdir /made/in; : > /file; chown 1:2 /file", cwd=tmp_path)
        done = place.run(*words, "stat -c %u:%g /file; ls /made", cwd=tmp_path)
        assert done.stdout == "1:2\n"
    words = ("exec", "--compat", "-o", f"{overlay}:ro", "docker://bb", "sh", "-c")
    assert place.run(*words, "rm /file && echo gone").stdout == "gone\n"
    assert (overlay / "upper/file").exists()
    env = {"APPTAINER_OVERLAY": str(overlay)}
    place.run("exec", "--writable-tmpfs", place.sif, "rm", "/file", env=env)
    assert not (overlay / "upper/file").exists()
    image = tmp_path / "overlay.img"
    image.write_bytes(b"\0" * 2048)
    done = place.run("exec", "--overlay", image, "docker://bb", "true", check=False)
    assert (done.returncode, "--overlay DIR" in done.stderr) == (255, True)
    options = ("exec", "-w", "--overlay", str(overlay), place.sandbox, "true")
    assert place.run(*options, check=False).returncode == 255
    assert place.run("overlay", "create", image, check=False).returncode == 255
    assert place.run("overlay", "create", check=False).returncode == 1


@pytest.mark.parametrize("scripts", [(), ("94-appsbase.sh",), tuple(APPS_SCRIPTS)])
def test_apps(place: Place, tmp_path: Path, scripts: tuple[str, ...]) -> None:
    """An app has its programs, variables and scripts, also where the image's script chooses it."""
    image = tmp_path / "image"
    shutil.copytree(place.sandbox, image, symlinks=True)
    app = image / "scif/apps/hello"
    for name in ("bin", "lib", "scif/env"):
        (app / name).mkdir(parents=True)
    (app / "scif/env/90-environment.sh").write_text(
        "export APPVAR=$SCIF_APPNAME-app COUNT=${COUNT}x\n"
    )
    for name in ("bin/greet", "scif/runscript", "scif/test"):
        (app / name).write_text(f'#!/bin/sh\necho {name} "$@" $APPVAR\n')
        (app / name).chmod(0o755)
    for name in scripts:
        (image / ".singularity.d/env" / name).write_text(APPS_SCRIPTS[name])
    script = "greet; echo $COUNT$SCIF_APPBIN_hello; echo $PATH; echo $LD_LIBRARY_PATH; "
    done = place.run("exec", "--app", "hello", image, "sh", "-c", f"{script}echo $SCIF_APPROOT")
    greeting, shown, path, libraries, root = done.stdout.splitlines()
    assert greeting == "bin/greet hello-app"
    assert shown == ("x/scif/apps/hello/bin" if scripts else "x")
    more = "" if scripts[1:] == () else ":/scif/apps/singularity"
    assert path.startswith(f"/scif/apps/hello/bin:/scif/apps/hello{more}:/x:/bin:")
    assert libraries == "/scif/apps/hello/lib:/.singularity.d/libs"
    assert root == "/scif/apps/hello"
    assert (
        place.run("run", "--app", "hello", image, "a b").stdout == "scif/runscript a b hello-app\n"
    )
    env = {"APPTAINER_APP": "hello"}
    assert place.run("test", image, env=env).stdout == "scif/test hello-app\n"
    (app / "scif/runscript").unlink()
    for words in (["run", "--app", "hello"], ["exec", "--app", "none"], ["exec", "--app", ".."]):
        done = place.run(*words, image, "true", check=False)
        assert (done.returncode, done.stderr.startswith("FATAL:   ")) == (1, True), words
    done = place.run("exec", "--app", "hello", "docker://bb", "true", check=False)
    assert (done.returncode, "ch-convert" in done.stderr) == (1, True)


def test_cache(place: Place, tmp_path: Path) -> None:
    """It is the build cache; images with names stay."""
    (tmp_path / "Dockerfile").write_text("FROM bb\nRUN echo > /made\nRUN echo > /more\n")
    environment = {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
    argv = [*command("ch-image"), "import", str(place.sandbox), "bb"]
    run_program(argv, env=environment)
    argv = [*command("ch-image"), "build", "--force=none", "-t", "built", str(tmp_path)]
    run_program(argv, env=environment)
    run_program([*command("ch-image"), "delete", "built"], env=environment)
    text = place.run("cache", "list", env=environment).stdout
    assert text.startswith("There are 1 image(s) with a name using ")
    assert place.run("cache", "clean", "--dry-run", env=environment).returncode == 0
    assert "canceled" in place.run("cache", "clean", env=environment).stderr
    assert "nothing" in place.run("cache", "clean", "-T", "library", env=environment).stderr
    assert place.run("cache", "list", env=environment).stdout == text
    place.run("cache", "clean", "--force", env=environment)
    text = place.run("cache", "list", "--verbose", env=environment).stdout
    assert "bb" in text
    assert " and 0 result(s) of builds using 0 B" in text
    assert place.run("exec", "docker://bb", "true", env=environment).returncode == 0
    for words in (["clean", "-D", "3"], ["clean", "x"], ["list", "-T", "x"], ["clear"], []):
        assert place.run("cache", *words, env=environment, check=False).returncode == 1, words


def test_links(place: Place, tmp_path: Path) -> None:
    """The entries run, one by a SIF's first line; no file of others is lost."""
    tmp_path /= "bin"
    tmp_path.mkdir()
    done = place.run("links", tmp_path)
    names = ["apptainer", "singularity", "run-singularity"]
    assert done.stdout.splitlines() == [str(tmp_path / name) for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    env = place.environment | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for name in names[:2]:
        done = run_program([tmp_path / name, "--version"], env=env)
        assert done.stdout == f"apptainer version {VERSION}\n"
    done = run_program([place.sif, "a b"], env=env, check=False, cwd=place.work)
    assert (done.returncode, done.stdout, done.stderr) == (3, "runscript a b default\n", "")
    place.run("links", tmp_path)
    (tmp_path / "singularity").unlink()
    (tmp_path / "singularity").write_text("another's\n")
    (tmp_path / "apptainer").unlink()
    done = place.run("links", tmp_path, check=False)
    assert done.returncode == 255
    assert "not an entry of Sundog" in done.stderr
    assert (tmp_path / "singularity").read_text() == "another's\n"
    assert not (tmp_path / "apptainer").exists()
    assert b"'/a'\\''b'" in entry_texts("/a'b")["apptainer"]


def test_an_image_that_is_no_image(place: Place, tmp_path: Path) -> None:
    """A link in an image leads nowhere out of it, and damage is named."""
    (tmp_path / "text").write_text("text")
    cut = tmp_path / "cut.sif"
    cut.write_bytes(place.sif.read_bytes()[:40000])
    os.mkfifo(tmp_path / "fifo")
    for name in ("text", "cut.sif", "fifo"):
        done = place.run("exec", tmp_path / name, "true", check=False)
        assert done.returncode == 255
        assert done.stderr.startswith("FATAL:   ")
        assert "Traceback" not in done.stderr
    image = tmp_path / "image"
    shutil.copytree(place.sandbox, image, symlinks=True)
    secret = tmp_path / "secret"
    secret.write_text("export SECRET=1\n")
    (image / ".singularity.d/env/99-x.sh").symlink_to(secret)
    assert "SECRET=" not in place.run("exec", "--contain", image, "env", env=AWAY).stdout


def started_at_once(place: Place, image: str | Path) -> list[bytes]:
    """Start a command in an image many times at once; return what each has said."""
    argv = [*command("sundog"), "apptainer", "exec", image, "echo", "here"]
    environment = os.environ | place.environment
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(argv, env=environment, cwd=place.work, stdout=pipe, stderr=pipe)
        for _ in range(RANKS)
    ]
    ends = [process.communicate(timeout=300) for process in started]
    assert [(process.returncode, out) for process, (out, _) in zip(started, ends, strict=True)] == [
        (0, b"here\n")
    ] * RANKS, ends
    return [said for _, said in ends]


def test_ranks_that_begin_at_once_pull_once(place: Place) -> None:
    """All of them run; each blob is fetched once; the second time, nothing asks the registry."""
    with InProcessRegistry().serve() as registry:
        remote = f"{registry.host}/ranks:1"
        run_program([*command("ch-image"), "push", "bb", remote], env=place.environment)
        registry.requests.clear()
        said = started_at_once(place, f"docker://{remote}")
        asked = len(registry.requests)
        blobs = [request for request in registry.requests if "/blobs/" in request]
        assert place.run("exec", f"docker://{remote}", "true").stderr == ""
        assert len(registry.requests) == asked
        done = place.run("-q", "exec", f"docker://{registry.host}/none", "true", check=False)
    assert sum(b"INFO:    Pulling docker://" in text for text in said) == 1
    assert blobs
    assert len(blobs) == len(set(blobs)), blobs
    assert asked < 3 * len(blobs)
    assert done.returncode == 255
    assert done.stderr.splitlines()[-1] == f"FATAL:   can't pull {registry.host}/none"


def test_ranks_of_a_sif(place: Place) -> None:
    assert started_at_once(place, place.sif) == [b""] * RANKS
