"""``sundog`` as people and programs use it: podman's and docker's lines, with real containers."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.living_process import Process
from sundog.image.oci.platform import Platform
from tests.conftest import Completed, command, run_program
from tests.image.pull.conftest import flavours, no_logins, tls

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.image.pull.flavours import Flavours

__all__ = ["flavours", "no_logins", "tls"]

DOCKERFILE = """\
FROM busybox
ENV GREETING="it's \\$HOME"
WORKDIR /work
RUN echo made >/work/made
ENTRYPOINT ["echo", "entry"]
CMD ["default"]
"""
USER_DOCKERFILE = """\
FROM busybox
RUN printf 'root:x:0:0::/root:/bin/sh\\napp:x:42:43::/home/app:/bin/sh\\n' >/etc/passwd; \\
    mkdir -p /home/app && chown 42:43 /home/app
USER app
"""


@dataclass(frozen=True)
class Place:
    """A storage directory with the images busybox, app (DOCKERFILE) and user (USER_DOCKERFILE)."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the commands."""
        return {
            "CH_IMAGE_STORAGE": str(self.path / "storage"),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "SECRET_OF_THE_HOST": "host",
        }

    def __call__(self, *words: str | Path, check: bool = True) -> Completed:
        """Run ``sundog``."""
        argv = [*command("sundog"), *words]
        return run_program(argv, check=check, env=self.environment)

    def shell(self, script: str, cwd: Path) -> Completed:
        """Run a script of bash with the alias docker."""
        lines = f"shopt -s expand_aliases\nset -e\nalias docker='{' '.join(command('sundog'))}'\n"
        return run_program(["bash", "-c", lines + script], env=self.environment, cwd=cwd)


@pytest.fixture(scope="module")
def sundog(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("sundog"))
    (place.path / "run").mkdir(mode=0o700)
    place("import", busybox_tar, "busybox")
    for name, text in (("app", DOCKERFILE), ("user", USER_DOCKERFILE)):
        context = place.path / name
        context.mkdir()
        (context / "Dockerfile").write_text(text)
        place("build", "-t", name, "-q", "--force", "notify", context)
    return place


def refused(done: Completed, *lines: str) -> None:
    """Check that ``sundog`` itself failed, with these lines and no others."""
    assert done.returncode == 125, done.stderr
    assert done.stderr.splitlines() == list(lines)


def test_command(sundog: Place) -> None:
    """ENTRYPOINT and CMD are the image's; the words of the line replace CMD."""
    assert sundog("run", "app").stdout == "entry default\n"
    assert sundog("run", "--rm", "app", "a", "-b").stdout == "entry a -b\n"
    assert sundog("run", "--entrypoint", "cat", "app", "made").stdout == "made\n"


def test_environment(sundog: Place) -> None:
    """The variables are the image's and the user's, exactly; of the host, there are none."""
    words = ["-e", "A='q' $x:$HOME", "-e", "SECRET_OF_THE_HOST", "--entrypoint", "env", "app"]
    done = sundog("run", *words)
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert variables.pop("PATH").startswith("/usr/local/sbin:")
    assert variables == {
        "A": "'q' $x:$HOME",
        "GREETING": "it's $HOME",
        "HOME": "/root",
        "CH_RUNNING": "Weird Al Yankovic",
        "SECRET_OF_THE_HOST": "host",
    }
    assert "SECRET" not in sundog("run", "--entrypoint", "env", "app").stdout


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["busybox"], "0 0 /root"),
        (["user"], "42 43 /home/app"),
        (["-u", "0", "user"], "0 0 /root"),
        (["-u", "app", "user"], "42 43 /home/app"),
        (["-u", "app:7", "user"], "42 7 /home/app"),
        (["-u", "5:6", "user"], "5 6 /"),
        (["--userns", "keep-id", "user"], f"{os.getuid()} {os.getgid()} /"),
        (["--force", "seccomp", "-u", "5:6", "user"], "5 6 /"),
    ],
)
def test_users(words: list[str], output: str, sundog: Place) -> None:
    script = 'echo $(id -u) $(id -g) "$HOME"'
    assert sundog("run", *words, "sh", "-c", script).stdout == f"{output}\n"


@pytest.mark.parametrize(
    ("variables", "words", "mode"),
    [
        ({}, [], "notify"),
        ({"CH_IMAGE_FORCE": "none"}, [], "none"),
        ({"CH_IMAGE_FORCE": "none"}, ["--force=seccomp"], "seccomp"),
    ],
)
def test_a_build_records_owners_by_default(
    *,
    variables: dict[str, str],
    words: list[str],
    mode: str,
    sundog: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its first line says the mode, and so does ``inspect``."""
    monkeypatch.delenv("CH_IMAGE_FORCE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "Dockerfile").write_text(f"FROM user\nUSER 0\nRUN mkdir /{mode}\nUSER app\n")
    done = sundog("build", "-t", "mode", *words, tmp_path)
    assert done.stderr.splitlines()[0] == f"emulation of root: {mode}"
    (described,) = json.loads(sundog("inspect", "mode").stdout)
    assert described["Force"] == list(dict.fromkeys(["notify", mode]))
    done = sundog("run", "mode", "touch", f"/{mode}/x", "/home/app/x", check=False)
    assert (done.returncode == 0) == (mode != "notify")
    assert "/home/app" not in done.stderr
    sundog("rmi", "mode")


@pytest.mark.parametrize("options", [[], ["-u", "app"], ["-u", "5:6"], ["-u", "0"]])
def test_users_write_to_volumes(sundog: Place, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "in").write_text("given")
    tmp_path.chmod(0o755)
    volume = [*options, "-v", f"{tmp_path}:/data", "-w", "/data", "user"]
    done = sundog("run", *volume, "sh", "-c", "echo more >>in; echo >made; stat -c %u:%g . in made")
    owner = {"": "42:43", "app": "42:43", "5:6": "5:6", "0": "0:0"}[options[-1] if options else ""]
    assert done.stdout.split() == [owner] * 3
    assert (tmp_path / "made").stat().st_uid == os.getuid()
    name = f"volumes-{owner.replace(':', '-')}-{len(options)}"
    sundog("run", "-d", "--name", name, *volume, "sleep", "60")
    try:
        look = ("sh", "-c", "cd /data; stat -c %u:%g in; (echo >>in) 2>/dev/null || echo no")
        assert sundog("exec", name, *look).stdout.split() == [owner]
        assert sundog("exec", "-u", "0", name, *look).stdout.split() == [owner]
        assert sundog("exec", "-u", "7:8", name, *look).stdout.split() == [owner, "no"]
    finally:
        sundog("rm", "-f", name)


def test_all_files_of_a_volume_are_the_users(sundog: Place) -> None:
    look = ["user", "stat", "-c", "%u:%g", "/data/passwd"]
    for words, owner in (
        (["-v", "/etc:/data"], "0:0"),
        (["-v", "/etc:/data:ro,U"], "42:43"),
        (["--mount", "type=bind,src=/etc,dst=/data,ro,U"], "42:43"),
        (["--mount", "type=bind,src=/etc,dst=/data,chown=false"], "0:0"),
    ):
        assert sundog("run", *words, *look).stdout == f"{owner}\n"


def test_writing(sundog: Place, tmp_path: Path) -> None:
    """A container is writable, and its changes are gone with it; a volume keeps them."""
    (tmp_path / "in").write_text("given")
    volume = ["-v", f"{tmp_path}:/data", "-w", "/data"]
    script = "cat in; echo new >out; rm /work/made; chown 7 /work; stat -c %u /work"
    done = sundog("run", *volume, "--entrypoint", "sh", "app", "-c", script)
    assert done.stdout == "given7\n"
    assert (tmp_path / "out").read_text() == "new\n"
    assert sundog("run", "--entrypoint", "ls", "app").stdout == "made\n"
    mount = f"type=bind,src={tmp_path},dst=/data,ro"
    done = sundog("run", "--mount", mount, "busybox", "touch", "/data/x", check=False)
    assert done.returncode == 1
    script = "touch /tmp/x && touch /x"
    done = sundog("run", "--read-only", "busybox", "sh", "-c", script, check=False)
    assert done.returncode == 1
    assert "/x: Read-only file system" in done.stderr


@pytest.mark.parametrize("user", [[], ["--userns=keep-id"], ["--force=seccomp"]])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 31"], 31),
        (["sh", "-c", "exit 125"], 125),
        (["nosuchcommand"], 127),
        (["/no/such/command"], 127),
        (["/etc/hosts"], 126),
    ],
)
def test_statuses(user: list[str], words: list[str], status: int, sundog: Place) -> None:
    assert sundog("run", *user, "busybox", *words, check=False).returncode == status


def test_failures_of_the_container(sundog: Place) -> None:
    for words in (
        ["-w", "/no/such"],
        ["-v", "/tmp:/proc/no/such"],
        ["--device", "/dev/no-such"],
        ["--device", "/dev/no-such:rw"],
    ):
        done = sundog("run", "--userns=keep-id", *words, "busybox", "true", check=False)
        assert done.returncode == 125, done.stderr
        assert "error: " in done.stderr


def test_death_by_signal(sundog: Place) -> None:
    argv = [*command("sundog"), "run", "busybox", "sh", "-c", "kill -TERM $$"]
    done = subprocess.run(argv, env=os.environ | sundog.environment, check=False)
    assert done.returncode == -15


def test_standard_input(sundog: Place) -> None:
    """Without -i, a command reads nothing: a loop that reads its own list goes on."""
    script = "printf 'a\\nb\\n' | while read x; do echo $x; docker run busybox cat; done\n"
    script += "echo c | docker run -i busybox cat\necho d | docker run -it busybox cat"
    done = sundog.shell(script, sundog.path)
    assert done.stdout == "a\nb\nc\nd\n"
    assert done.stderr == "warning: -t: standard input is no terminal\n"


def test_what_is_not_possible(sundog: Place) -> None:
    refused(
        sundog("run", "-p", "80:8080", "busybox", "true", check=False),
        "error: -p 80:8080: the container has the host's network, so no port can be mapped",
        "hint: leave it out, and have the program listen on a port of the host",
    )
    refused(
        sundog("run", "-v", "data:/data", "busybox", "true", check=False),
        "error: -v data:/data: there are no named volumes",
        "hint: make a directory, and bind it: -v ./data:/data",
    )
    refused(
        sundog("volume", "ls", check=False),
        "error: sundog has no volume: a volume is a directory",
        "hint: make one, and bind it: sundog run -v ./DIR:DST",
    )
    refused(
        sundog("imagse", check=False),
        "error: unknown subcommand: imagse",
        "hint: did you mean images?  see: sundog --help",
    )
    refused(
        sundog("container", "lst", check=False),
        "error: unknown subcommand: container lst",
        "hint: did you mean container ls?",
    )
    refused(
        sundog("container", "attach", "x", check=False),
        "error: sundog has no attach: nothing stands between a command and its streams",
        "hint: sundog logs, sundog exec",
    )
    done = sundog("run", "--memory", "1g", "--cap-add=ALL", "busybox", "echo", "on")
    assert done.stdout == "on\n"
    assert done.stderr.splitlines() == [
        "warning: --memory 1g has no effect: the batch system decides that",
        "warning: --cap-add ALL has no effect: the container has your own rights",
    ]


def test_pull_if_missing(sundog: Place, flavours: Flavours) -> None:
    """run pulls what is not in storage, as podman does; --pull decides otherwise."""
    remote = f"{flavours.http}/tools/app:1"
    sundog("push", "app", remote)
    done = sundog("run", f"docker://{remote}", "from afar")
    assert done.stdout == "entry from afar\n"
    assert f"pulling image:    {remote}" in done.stderr
    done = sundog("run", remote, "again")
    assert (done.stdout, done.stderr) == ("entry again\n", "")
    done = sundog("run", "--pull=always", remote)
    assert "image in storage is up to date" in done.stderr
    refused(
        sundog("run", "--pull=never", f"{flavours.http}/other", check=False),
        f"error: no image in storage: {flavours.http}/other",
        f"hint: sundog pull {flavours.http}/other",
    )
    done = sundog("run", f"{flavours.http}/tools/ap:1", check=False)
    assert done.returncode == 125
    assert "error: " in done.stderr
    assert done.stderr.endswith(f"hint: did you mean {remote}? It is in storage\n")
    assert sundog("image", "exists", remote, check=False).returncode == 0
    assert sundog("image", "exists", "other", check=False).returncode == 1
    sundog("rmi", remote)


SNAKEMAKE = {
    "udocker": "--rm --nobanner --env TINI_SUBREAPER=1",
    "podman": "--rm",
    "docker": "--rm --user UID:GID",
    "docker with namespaces": "--rm --userns keep-id",
}


@pytest.mark.parametrize("runtime", SNAKEMAKE)
def test_lines_of_snakemake(runtime: str, sundog: Place, tmp_path: Path) -> None:
    """The lines of Snakemake's container plugin, as it gives them to the shell of each runtime."""
    (tmp_path / "input").write_text("3\n1\n2\n")
    options = SNAKEMAKE[runtime].replace("UID:GID", f"{os.getuid()}:{os.getgid()}")
    mounts = f" -v '/tmp':'/tmp' -v '{tmp_path}':'{tmp_path}' -v '{tmp_path}':'{tmp_path}'"
    line = f"docker run {options} -w '{tmp_path}' {mounts} busybox sh -c"
    done = sundog.shell(f"{line} 'set -e; sort input >output; id -u; test -w /tmp'", tmp_path)
    owner = str(os.getuid()) if runtime.startswith("docker") else "0"
    assert (done.stdout, done.stderr) == (f"{owner}\n", "")
    assert (tmp_path / "output").read_text() == "1\n2\n3\n"
    assert (tmp_path / "output").stat().st_uid == os.getuid()


def test_secrets_are_not_on_the_command_line(sundog: Place, tmp_path: Path) -> None:
    """Values of variables go by the environment: all users can read a command line."""
    (tmp_path / "env").write_text("OF_THE_FILE=secret1\n")
    words = ["-i", "--env-file", tmp_path / "env", "-e", "SECRET_OF_THE_HOST", "busybox", "sh"]
    script = "echo $OF_THE_FILE $SECRET_OF_THE_HOST; read x"
    with background(sundog, "run", *map(str, words), "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "secret1 host\n"
        line = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert line.endswith("\0".join(["run", *map(str, words), "-c", script, ""]))
        assert "secret1" not in line
        process.communicate("\n")


def test_another_platform_is_not_run_in_place_of_the_wanted_one(sundog: Place) -> None:
    host = Platform.of_host()
    assert sundog("run", "--platform", str(host), "busybox", "echo", "ran").stdout == "ran\n"
    assert sundog("run", "--arch", host.architecture, "busybox", "echo", "ran").stdout == "ran\n"
    for words in (["--platform", "linux/s390x"], ["--arch", "linux/s390x"]):
        refused(
            sundog("run", "--pull=never", *words, "busybox", "echo", "ran", check=False),
            "error: docker.io/library/busybox:latest is in storage for "
            f"{host}, not for linux/s390x",
            "hint: ch-image pull --arch=s390x docker.io/library/busybox:latest",
        )


def test_tmpfs(sundog: Place) -> None:
    """--tmpfs is an empty directory, also with --read-only and where the image has none."""
    words = ["--read-only", "--tmpfs", "/etc", "--tmpfs=/new/dir:size=4k,mode=0750", "busybox"]
    script = (
        "ls -A /etc; echo x >/new/dir/x; stat -c %a /new/dir; head -c 9999 /dev/zero >/new/dir/y"
    )
    done = sundog("run", *words, "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout) == (1, "750\n")


@pytest.fixture
def configure(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return a function that writes the user's file, and returns the variables for it."""
    directory = tmp_path / "config" / "sundog"
    directory.mkdir(parents=True)

    def write(text: str) -> dict[str, str]:
        for place in (tmp_path, directory.parent, directory):
            place.chmod(0o755)
        (directory / "sundog.toml").write_text(text)
        (directory / "sundog.toml").chmod(0o644)
        return {"XDG_CONFIG_HOME": str(directory.parent), "XDG_CACHE_HOME": str(tmp_path / "x")}

    return write


def test_defaults_of_the_configuration(
    sundog: Place, configure: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("data\n")
    file = tmp_path / "config" / "sundog" / "sundog.toml"

    def run(options: list[str], *words: str) -> Completed:
        variables = configure(f"sundog.run_options = {json.dumps(options)}\n")
        argv = [*command("sundog"), *words]
        return run_program(argv, check=False, env=sundog.environment | variables)

    options = ["--rm", "-v", f"{tmp_path}/data:/data", "--env=A=1", "-e", "B=1", "--userns=keep-id"]
    script = "cat /data/file; echo $A$B; id -u"
    words = ("busybox", "sh", "-c", script)
    uid = os.geteuid()
    assert run(options, "run", *words).stdout == f"data\n11\n{uid}\n"
    done = run(options, "run", "-e", "B=2", "--userns=host", *words)
    assert done.stdout == "data\n12\n0\n"
    # A container keeps those with which it was made.
    assert run(options, "create", "--name", "kept", *words).returncode == 0
    assert run([], "start", "-a", "kept").stdout == f"data\n11\n{uid}\n"
    assert run([], "rm", "kept").returncode == 0
    done = run(["--memory=1g"], "run", "--rm", "busybox", "true")
    assert done.stderr.startswith(f"warning: {file}: sundog.run_options: --memory 1g has no effect")
    for wrong, message in (
        (["busybox"], "not an option: busybox"),
        (["--rm", "--", "x"], "not an option: x"),
        (["-v"], "-v needs an argument"),
        (["--nosuch"], "unknown option: --nosuch"),
        (["--rm=x"], "--rm: neither true nor false: x"),
        (["--restart=always"], "--restart always: no daemon would start the command again"),
        (["--name=x"], "--name can't be a default"),
    ):
        place = f"error: {file}: sundog.run_options: {message}"
        assert run(wrong, "run", "--rm", "busybox", "true").stderr.startswith(place), wrong
        assert run(wrong, "config", "--check").stderr.startswith(place)
    assert run(["--nosuch"], "run", "--help").returncode == 0


def test_config_tells_each_mistake_once(
    sundog: Place, configure: Callable[[str], dict[str, str]]
) -> None:
    """Parts of Sundog that read the files themselves meet it again."""
    variables = sundog.environment | configure("run.state = 'here'\nlog.place = 'there'\n")
    argv = [*command("sundog"), "config", "--check"]
    told = run_program(argv, check=False, env=variables).stderr
    assert [told.count(f"{key}: expected") for key in ("run.state", "log.place")] == [1, 1]


@pytest.mark.parametrize("user", ["--userns=keep-id", "--userns=host"])
def test_binds_of_the_configuration(
    sundog: Place, configure: Callable[[str], dict[str, str]], tmp_path: Path, user: str
) -> None:
    """Variables in their paths are those of the host; the command has none of them."""
    (tmp_path / "file").write_text("data\n")
    variables = sundog.environment | configure("run.bind = ['$PLACE/file:/data']\n")
    variables |= {"PLACE": str(tmp_path)}
    script = "cat /data || echo none; echo $PLACE"
    for options, shown in (
        ((), "data\n\n"),
        (("-e", "PLACE=own"), "data\nown\n"),
        (("-e", "PLACE"), f"data\n{tmp_path}\n"),
        (("--no-site-binds",), "none\n\n"),
    ):
        argv = [*command("sundog"), "run", "--rm", user, *options, "busybox"]
        done = run_program([*argv, "sh", "-c", script], env=variables)
        assert done.stdout == shown


def test_no_container_writes_the_record(
    sundog: Place, configure: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    """It would decide about the binds of later starts, wherever the caches are."""
    variables = sundog.environment | configure("run.bind = ['/etc/hostname:/data']\n")
    caches = tmp_path / "x"
    (caches / "sundog").mkdir(parents=True)
    for user in ("--userns=keep-id", "--userns=host"):
        argv = [*command("sundog"), "run", "--rm", user, "-v", f"{caches}:/caches", "busybox"]
        run_program([*argv, "sh", "-c", "echo 1 >/caches/sundog/x; true"], env=variables)
        assert not (caches / "sundog" / "x").exists()


@pytest.mark.parametrize("own", ["", "C.UTF-8"])
def test_the_locale_is_the_callers(own: str, sundog: Place) -> None:
    """Without any locale, Python sets LC_CTYPE for itself, and for nobody else."""
    everything = os.environ | sundog.environment
    environment = {
        name: value for name, value in everything.items() if not name.startswith(("LC_", "LANG"))
    }
    if own:
        environment["LC_CTYPE"] = own
    argv = [*command("sundog"), "run", "--rm", "--env-host", "busybox", "sh", "-c"]
    done = subprocess.run(
        [*argv, "echo $LC_CTYPE"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{own}\n"


def test_operands_that_a_subcommand_does_not_take(sundog: Place) -> None:
    prunes = [f"{kind} prune" for kind in ("builder", "container", "image", "system")]
    for name in ("version", "info", "doctor", "ps", *prunes):
        refused(
            sundog(*name.split(), "it", check=False),
            f"error: {name}: unexpected argument: it",
            f"hint: sundog {name} --help",
        )


def test_terminal(sundog: Place) -> None:
    """With -it, the command has the caller's terminal, and $TERM."""
    control, terminal = pty.openpty()
    argv = [*command("sundog"), "run", "--rm", "-it", "busybox", "sh", "-c", "tty; echo $TERM"]
    environment = os.environ | sundog.environment | {"TERM": "vt100"}
    done = subprocess.run(
        argv, env=environment, stdin=terminal, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == f"{os.ttyname(terminal)}\nvt100\n"
    os.close(control)
    os.close(terminal)


@pytest.mark.parametrize("words", ["--help", "images", "ps", "version", "run --help", "nosuch", ""])
def test_closed_streams(words: str, sundog: Place) -> None:
    """No traceback, whatever stream is closed, full, or read by nobody."""
    for streams in (">&-", "2>&-", "<&-", ">/dev/full", ">&- 2>&- <&-", "| true"):
        line = f"{' '.join(command('sundog'))} {words} {streams}"
        done = run_program(["bash", "-c", line], env=sundog.environment, check=False)
        assert "Traceback" not in done.stderr, line
        assert "report this bug" not in done.stderr, line


@pytest.mark.parametrize("words", ["--help", "images", "ps", "inspect busybox"])
def test_a_full_disk_is_that_of_standard_output(words: str, sundog: Place) -> None:
    line = f"{' '.join(command('sundog'))} {words} >/dev/full"
    done = run_program(["bash", "-c", line], env=sundog.environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: /dev/stdout: no space left on")


@contextmanager
def background(sundog: Place, *words: str) -> Generator[subprocess.Popen[str]]:
    """Run ``sundog`` in the background; it has to end by itself."""
    with subprocess.Popen(
        [*command("sundog"), *words],
        env=os.environ | sundog.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


@pytest.mark.parametrize("user", [[], ["--userns=keep-id"]], ids=["notify", "keep-id"])
def test_exec(user: list[str], sundog: Place) -> None:
    """exec sees the files, the variables and the working directory of the container."""
    name = f"shared{len(user)}"
    words = ["run", "-i", "--rm", *user, "--name", name, "--entrypoint", "sh", "app"]
    with background(sundog, *words, "-c", "echo mine >own; echo ready; read x; cat own") as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "ready\n"
        listed = json.loads(sundog("ps", "--format", "json").stdout)
        assert [(entry["Names"], entry["Pid"]) for entry in listed] == [([name], first.pid)]
        done = sundog("exec", name, "sh", "-c", 'cat own; echo theirs >own; echo "$GREETING"; pwd')
        assert done.stdout == "mine\nit's $HOME\n/work\n"
        refused(
            sundog("run", "--name", name, "busybox", "true", check=False),
            f"error: a container has the name {name}",
            f"hint: sundog stop {name}, or choose another --name",
        )
        elsewhere = sundog.environment | {"CH_IMAGE_STORAGE": "/no/such"}
        argv = [*command("sundog"), "exec", name, "echo", "found"]
        assert run_program(argv, env=elsewhere).stdout == "found\n"
        assert sundog("exec", name, "nosuch", check=False).returncode == 127
        first.stdin.write("\n")
        first.stdin.flush()
        assert first.stdout.read() == "theirs\n"
    assert first.returncode == 0
    assert names(sundog) & {name} == set()
    refused(
        sundog("exec", name, "true", check=False),
        f"error: {name}: no such container",
        "hint: sundog ps -a",
    )


@pytest.mark.parametrize("user", [[], ["--userns=keep-id"]], ids=["notify", "keep-id"])
def test_exec_believes_no_record(user: list[str], sundog: Place, tmp_path: Path) -> None:
    """A record that a hostile image has written makes no container, and binds nothing."""
    (tmp_path / "secret").write_text("of the host\n")
    words = ["run", "-i", "--rm", *user, "--name", "web", "busybox", "cat"]
    with background(sundog, *words) as first:
        until(sundog, "web", "ps")
        (record,) = sundog.path.glob("run/sundog/containers/web/state.json")
        written = json.loads(record.read_text())
        alone = ["unshare", "-U", "sh", "-c", "echo up; exec sleep 100"]
        with subprocess.Popen(alone, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"up\n"
            process = Process.of(other.pid)
            forged = written | {"process": process.pid, "started": process.start}
            binds = [f"--bind={tmp_path}:/mnt", "--uid=0"]
            for change in (forged, forged | {"user": binds}, forged | {"mode": binds[0]}):
                record.write_text(json.dumps(change))
                done = run_program(
                    ["timeout", "20", *command("sundog"), "exec", "web", "cat", "/mnt/secret"],
                    env=sundog.environment,
                    check=False,
                )
                assert (done.returncode, done.stdout) == (125, ""), change
            other.kill()
        record.write_text(json.dumps(written | {"image": "other"}))
        done = sundog("exec", "web", "true", check=False)
        assert "the group runs busybox, not other" in done.stderr
        record.write_text(json.dumps(written))
        assert sundog("exec", "web", "echo", "found").stdout == "found\n"
        assert first.stdin is not None
        first.stdin.close()
    assert first.returncode == 0


def test_exec_where_proc_is_covered(sundog: Place) -> None:
    """The supervisor takes nothing from names that programs of the container have made."""
    script = """
        mount -t tmpfs none /proc; mkdir -p /proc/self /proc/sys/kernel
        mkfifo /proc/self/stat; echo 99999999999 >/proc/sys/kernel/cap_last_cap
    """
    sundog("run", "-d", "--name", "covered", "busybox", "sleep", "100")
    try:
        sundog("exec", "covered", "sh", "-ec", script)
        for _ in range(2):
            argv = ["timeout", "20", *command("sundog"), "exec", "covered", "echo", "in"]
            assert run_program(argv, env=sundog.environment).stdout == "in\n"
    finally:
        sundog("rm", "-f", "covered")


def test_no_state_where_containers_write(sundog: Place, tmp_path: Path, busybox_tar: Path) -> None:
    """Without $XDG_RUNTIME_DIR, as in a batch job, nothing of it is in /tmp."""
    place = tmp_path / "own"
    script = f"""
        unset XDG_RUNTIME_DIR; export CH_IMAGE_STORAGE={place}
        before=$(ls -A /tmp/sundog-{os.getuid()} 2>&1 || :)
        docker import {busybox_tar} bb
        docker run -d --name one bb sleep 100 && docker exec one echo in
        find {place}/run -type f ! -perm 0600; find {place}/run -type d ! -perm 0700
        docker rm -f one
        test "$before" = "$(ls -A /tmp/sundog-{os.getuid()} 2>&1 || :)"
    """
    done = sundog.shell(script, tmp_path)
    assert done.stdout.splitlines()[-3:] == ["one", "in", "one"]


def test_the_place_of_state(
    sundog: Place, configure: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    """It has the containers, and the state of ch-run-oci; `config` shows it."""
    variables = sundog.environment | configure(f"run.state = '{tmp_path}/state'\n")

    def run(*words: str) -> str:
        return run_program([*command(words[0]), *words[1:]], env=variables).stdout

    run("sundog", "run", "-d", "--rm", "--name", "placed", "busybox", "sleep", "100")
    assert run("sundog", "exec", "placed", "echo", "in") == "in\n"
    assert "placed" not in names(sundog)
    assert [*(tmp_path / "state").glob("*/containers/placed*")]
    assert run("sundog", "rm", "-f", "placed") == "placed\n"
    assert f'run.state = "{tmp_path}/state"  # ' in run("sundog", "config")
    profile = json.loads(run("sundog", "agent", "--profile"))
    assert profile["listenerPath"].startswith(f"{tmp_path}/state/")


def names(sundog: Place) -> set[str]:
    """Return the names of all containers."""
    return set(sundog("ps", "-a", "--format", "{{.Names}}").stdout.split())


def until(sundog: Place, text: str, *words: str) -> None:
    """Wait until ``sundog`` prints a text."""
    deadline = time.monotonic() + 30
    while text not in sundog(*words).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_detached(sundog: Place) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    done = sundog("run", "-d", "--name", "web", "busybox", "sh", "-c", script)
    assert (done.stdout, done.stderr) == ("web\n", "")
    until(sundog, "ready", "logs", "web")
    assert sundog("rm", "web", check=False).returncode == 1
    assert sundog("stop", "web").stdout == "web\n"
    until(sundog, "Exited (3)", "ps", "-a")
    assert sundog("ps", "-q").stdout == ""
    refused(
        sundog("run", "--name", "web", "busybox", "true", check=False),
        "error: an ended container has the name web",
        "hint: sundog rm web",
    )
    assert sundog("logs", "-f", "web").stdout == "ready\nbye\n"
    assert sundog("rm", "web").stdout == "web\n"
    assert "web" not in names(sundog)


@pytest.mark.parametrize("user", [[], ["--userns=keep-id"]], ids=["notify", "keep-id"])
def test_exec_at_once(user: list[str], sundog: Place) -> None:
    """A container of -d can be entered as soon as its name is printed, and is the same one."""
    script = "echo mine >/own; sleep 1000"
    docker = f"docker run -d --rm {' '.join(user)} --name early busybox sh -c '{script}'"
    inside = "until test -s /own; do :; done; cat /own"
    program = " ".join(command("sundog"))
    script = f"{docker}; timeout 20 {program} exec early sh -c '{inside}'"
    done = sundog.shell(script, sundog.path)
    assert done.stdout == "early\nmine\n"
    refused(
        sundog("run", "-d", "--name", "early", "busybox", "true", check=False),
        "error: a container has the name early",
        "hint: sundog stop early, or choose another --name",
    )
    assert sundog("rm", "-f", "early").stdout == "early\n"


def test_detached_and_killed(sundog: Place) -> None:
    name = sundog("run", "-d", "--rm", "busybox", "sleep", "1000").stdout.strip()
    assert name.startswith("busybox-")
    assert sundog("kill", "-s", "9", name).stdout == f"{name}\n"
    deadline = time.monotonic() + 30
    while name in names(sundog):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_detached_fails(sundog: Place) -> None:
    refused(
        sundog("run", "-d", "--name", "x", "-w", "y", "busybox", "true", check=False),
        "error: --workdir y: not an absolute path",
        "hint: give one of the container",
    )
    refused(
        sundog("run", "--name", "../x", "busybox", "true", check=False),
        "error: not a name for a container: ../x",
        "hint: letters, digits, _ . - and at most 60 of them",
    )


def test_image_with_a_digest(sundog: Place) -> None:
    """Its repository keeps its spelling, and it has no tag."""
    name = f"h.x:5/v@sha256:{'a' * 64}"
    sundog("tag", "busybox", name)
    (line,) = sundog("images", "-n", name).stdout.splitlines()
    assert line.split()[:2] == ["h.x:5/v", "<none>"]
    sundog("rmi", name)


def test_images(sundog: Place) -> None:
    lines = sundog("images").stdout.splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["app", "latest"],
        ["busybox", "latest"],
        ["user", "latest"],
    ]
    form = "{{.Repository}}:{{.Tag}}"
    assert sundog("images", "--format", form, "app").stdout == "app:latest\n"
    assert json.loads(sundog("images", "--format", "json", "app").stdout)[0]["name"] == "app"
    sundog("tag", "app", "again:1", "again:2")
    identity = sundog("images", "-q", "app").stdout.strip()
    assert sundog("run", identity).stdout == "entry default\n"
    sundog("tag", identity, "third")
    sundog("tag", "third", "app")
    assert sundog("images", "-q", "again").stdout == f"{identity}\n"
    sundog("rmi", "again:1", "again:2", "third")
    done = sundog("images", "--format", "{{.Nothing}}", check=False)
    assert done.returncode == 125
    assert "there are .Repository, .Tag" in done.stderr


def test_help(sundog: Place) -> None:
    done = sundog("--help")
    assert "= ch-image pull IMAGE" in done.stdout
    assert sundog("help", "run").stdout == sundog("run", "--help").stdout
    assert sundog("system", "df", "--help").stdout.startswith("Usage: sundog system df")
    empty = sundog(check=False)
    assert (empty.returncode, empty.stdout) == (1, "")
    assert empty.stderr == done.stdout
    assert sundog("--version").stdout == sundog("version").stdout


def test_doctor(sundog: Place) -> None:
    """It is ch-checkns --all."""
    done = sundog("doctor", "--json", "--registry", "127.0.0.1:9", check=False)
    assert done.returncode == 1
    rows = {row["name"]: row["state"] for row in json.loads(done.stdout)}
    assert (rows["pivot_root"], rows["registry 127.0.0.1:9"]) == ("ok", "failed")


def test_the_compiled_ch_run_serves_the_caller(sundog: Place, tmp_path: Path) -> None:
    """A job of a workflow that runs as the caller starts without a second Python."""
    program = command("ch-run")[0]
    if not Path(program).read_bytes().startswith(b"\x7fELF"):
        pytest.fail(f"{program} is not compiled")
    words = ["run", "--rm", "--userns=keep-id", "-w", tmp_path, "-v", f"{tmp_path}:{tmp_path}"]
    argv = [*command("sundog"), *map(str, words), "busybox", "pwd"]
    run_program(argv, env=sundog.environment)  # the first start, by Python, leaves the accounts
    environment = sundog.environment | {"SUNDOG_START": "compiled"}
    assert run_program(argv, env=environment).stdout == f"{tmp_path}\n"


def test_ranks_of_mpi(sundog: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What srun and mpirun tell a rank reaches the command; it does so with ch-run, too."""
    monkeypatch.setenv("PMI_RANK", "3")
    for own in ([], ["--userns=keep-id"]):
        assert sundog("run", *own, "busybox", "sh", "-c", "echo $PMI_RANK").stdout == "3\n"


CHEAT_SHEET = """\
docker --version
docker info
docker pull REGISTRY/base
docker images
docker run --rm REGISTRY/base echo hello
echo 'echo from a shell' | docker run -i --rm REGISTRY/base sh
docker build -t mine:1 .
docker run --rm -v "$PWD":/data -w /data -e WHO=me mine:1 sh -c 'echo $WHO >made'
docker run -d --name web -p 8080:8080 mine:1 sleep 1000
docker ps
docker exec web cat /made
docker logs web
docker stop -t 0 web
docker ps -a
docker rm -f web
docker tag mine:1 REGISTRY/mine:1
docker push REGISTRY/mine:1
docker history mine:1
docker inspect mine:1
docker save -o mine.tar mine:1
docker rmi mine:1 REGISTRY/mine:1
docker load -i mine.tar
docker image ls -q
docker rmi $(docker images -q mine)
docker system df
docker image prune -f
docker system prune -f
"""


def test_cheat_sheet(sundog: Place, flavours: Flavours, tmp_path: Path) -> None:
    """The commands of a docker cheat sheet, with an alias and a registry."""
    sundog("push", "busybox", f"{flavours.http}/base")
    (tmp_path / "Dockerfile").write_text(f"FROM {flavours.http}/base\nRUN echo built >/made\n")
    script = "".join(
        f"echo '== {number}'\n{line}\n"
        for number, line in enumerate(CHEAT_SHEET.replace("REGISTRY", flavours.http).splitlines())
    )
    done = sundog.shell(script, tmp_path)
    outputs = [part.partition("\n")[2] for part in done.stdout.split("== ")[1:]]
    assert len(outputs) == len(CHEAT_SHEET.splitlines())
    shown = dict(zip(CHEAT_SHEET.splitlines(), outputs, strict=True))
    assert shown["docker run --rm REGISTRY/base echo hello"] == "hello\n"
    shell = "echo 'echo from a shell' | docker run -i --rm REGISTRY/base sh"
    assert shown[shell] == "from a shell\n"
    assert (tmp_path / "made").read_text() == "me\n"
    assert shown["docker exec web cat /made"] == "built\n"
    assert "Up" in shown["docker ps"]
    assert "Exited (137)" in shown["docker ps -a"]
    assert shown["docker push REGISTRY/mine:1"].startswith("sha256:")
    assert "mine:1" in json.loads(shown["docker inspect mine:1"])[0]["RepoTags"]
    assert sundog("image", "exists", "mine:1", check=False).returncode == 1
    assert "warning" not in done.stderr
    sundog("rmi", f"{flavours.http}/base")
