"""Containers of ``sundog`` with podman's words: what podman 5.4 printed is the reference."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import subprocess
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.errors import SundogError
from sundog.front.cli.sundog_containers import remove
from sundog.front.cli.sundog_context import Context
from sundog.front.podman import kept
from sundog.front.podman.containers import own_containers
from tests.conftest import command, copy_storage, run_program
from tests.front.cli.test_sundog import Place, background, refused, sundog, until

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["sundog"]

DOCKERFILE = """\
FROM busybox
ENV A="x y" B=2
LABEL k=v z="a b"
WORKDIR /work
STOPSIGNAL SIGUSR1
ENTRYPOINT ["sh", "-c"]
CMD ["echo hi"]
"""
TICKS = 'trap "echo bye; exit 5" USR1; echo tick; while :; do sleep 0.05; done'


@pytest.fixture(scope="module")
def place(sundog: Place) -> Place:
    """Return the storage of ``sundog`` with one more image, which has labels and a STOPSIGNAL."""
    context = sundog.path / "labelled"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    sundog("build", "-t", "labelled", "-q", context)
    copy_storage(sundog.path / "storage", sundog.path / "copy")  # no user can copy containers
    return sundog


@pytest.fixture(scope="module")
def apart(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a copy of the storage, for tests that begin and end without a container."""
    copy = Place(tmp_path_factory.mktemp("apart"))
    (copy.path / "run").mkdir(mode=0o700)
    (place.path / "copy").rename(copy.path / "storage")
    return copy


@pytest.fixture
def empty(apart: Place) -> Generator[Place]:
    """Return a storage without any container, before the test and after it."""
    yield apart
    apart("rm", "-af")
    assert apart("ps", "-aq").stdout == ""
    kept = apart.path / "storage" / "containers"
    assert not kept.exists() or os.listdir(kept) == []


@pytest.fixture(scope="module")
def pair(place: Place) -> Generator[Place]:
    """Return the storage with the container ``one``, which has ended, and ``two``, which runs."""
    script = "echo out; echo err >&2; printf part; exit 3"
    place("run", "-d", "--name", "one", "labelled", script)
    place("wait", "one")
    place("run", "-d", "--name", "two", "--label", "a=b", "-v", "/tmp:/data:ro", "labelled", TICKS)
    until(place, "tick", "logs", "two")
    yield place
    place("rm", "-f", "one", "two")


# Filter: what podman printed for two such containers.
FILTERS = {
    "status=running": ["two"],
    "status=exited": ["one"],
    "exited=3": ["one"],
    "name=on": ["one"],
    "name=^one$": ["one"],
    "id=x": [],
    "label=a": ["two"],
    "label=a=b": ["two"],
    "label=a=c": [],
    "label!=a": ["one"],
    "ancestor=labelled": ["one", "two"],
    "ancestor=labelled:latest": ["one", "two"],
    "ancestor=busybox": [],
    "before=two": ["one"],
    "since=one": ["two"],
    "until=1h": [],
    "volume=/data": ["two"],
}


def test_ps(pair: Place) -> None:
    rows = pair("ps", "-a").stdout.splitlines()
    assert rows[0] == (
        "CONTAINER ID  IMAGE       COMMAND               CREATED" + rows[0].partition("CREATED")[2]
    )
    assert rows[0].split() == [
        *("CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")
    ]
    pattern = r"[0-9a-f]{12}  labelled    echo out; echo er\.\.\.  .* ago +Exited \(3\) .* ago +one"
    assert re.fullmatch(pattern, rows[1]), rows[1]
    assert re.search(r" Up .* +two$", rows[2]), rows[2]
    assert [row.split()[-1] for row in pair("ps", "--noheading").stdout.splitlines()] == ["two"]
    whole = pair("ps", "-aq", "--no-trunc").stdout.split()
    assert [len(identity) for identity in whole] == [64, 64]
    assert pair("ps", "-aq").stdout.split() == [identity[:12] for identity in whole]
    assert pair("ps", "-l", "--format", "{{.Names}}").stdout == "two\n"
    assert pair("ps", "-n", "2", "--format", "{{.Names}}").stdout == "one\ntwo\n"
    form = "{{.Names}} {{.Image}} {{.State}} {{.ExitCode}} {{.Labels}} {{.Mounts}} {{.Pid}}"
    assert pair("ps", "-a", "--format", form).stdout.splitlines()[0] == (
        "one labelled exited 3 map[k:v z:a b] [] 0"
    )
    sizes = pair("ps", "-as", "--format", "{{.Size}}").stdout.splitlines()
    assert all(re.fullmatch(r"\d+B \(virtual [0-9.]+MB\)", size) for size in sizes)
    table = pair("ps", "-a", "--format", "table {{.Names}}\\t{{.Status}}").stdout.splitlines()
    assert table[0] == "NAMES       STATUS"
    entries = json.loads(pair("ps", "-a", "--format", "json").stdout)
    assert [(entry["Names"], entry["State"]) for entry in entries] == [
        (["one"], "exited"),
        (["two"], "running"),
    ]
    assert pair("ps", "-a", "--format", "{{.Nope}}", check=False).returncode == 125
    for text, (name, shown) in {
        "status=bogus": ("--filter status=bogus: no such state", "one of: created"),
        "bogus=1": ("--filter bogus=1: no such filter", "sundog ps has id, name"),
        "name=(": ("--filter: not a regular expression: (", ""),
    }.items():
        done = pair("ps", "-a", "--filter", text, check=False)
        assert done.returncode == 125
        assert name in done.stderr
        assert shown in done.stderr


def test_a_strangers_words_are_one_cell(empty: Place) -> None:
    """Tabs and newlines of a command or a label make no columns and no rows of their own."""
    empty("create", "--name", "c", "--label", "a=x\ty\nz", "busybox", "echo", "a\tb\n\x1b[2Jc")
    rows = empty("ps", "-a", "--no-trunc").stdout.splitlines()
    assert len(rows) == 2
    assert r"  echo a\tb\n\x1b[2Jc  " in rows[1]
    form = r"table {{.Names}}\t{{.Labels.a}}{{if .Labels}}\t{{.Labels}}{{end}}"
    shown = empty("ps", "-a", "--noheading", "--format", form).stdout
    assert shown.split() == ["c", r"x\ty\nz", r"map[a:x\ty\nz]"]


def test_filters(pair: Place) -> None:
    found = {
        text: pair("ps", "-a", "--filter", text, "--format", "{{.Names}}").stdout.split()
        for text in FILTERS
    }
    assert found == FILTERS
    several = ["--filter", "status=running", "--filter", "status=exited"]
    assert pair("ps", *several, "--format", "{{.Names}}").stdout == "one\ntwo\n"


# Template: what podman printed for such a container.
INSPECTED = {
    "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.State.Pid}}": "exited false 3 0",
    "{{.Name}} {{.ImageName}} {{.RestartCount}}": "one labelled 0",
    "{{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.WorkingDir}}": (
        "[echo out; echo err >&2; printf part; exit 3] [sh -c] /work"
    ),
    "{{json .Config.Labels}}": '{"k":"v","z":"a b"}',
    "{{range .Config.Env}}{{println .}}{{end}}": (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nA=x y\nB=2\n"
    ),
    '{{index .Config.Labels "k"}}{{index .Config.Labels "no"}}': "v",
    "{{.Mounts}}": "[]",
    "{{.Config.StopSignal}} {{.Config.StopTimeout}}": "SIGUSR1 10",
    "{{.Args}} {{.Path}}": "[-c echo out; echo err >&2; printf part; exit 3] sh",
    "{{if .State.Running}}up{{else}}down{{end}}": "down",
    "{{.HostConfig.AutoRemove}}": "false",
}


def test_inspect(pair: Place) -> None:
    for template, text in INSPECTED.items():
        shown = pair("inspect", "--format", template, "one").stdout
        assert shown.rstrip("\n") == text.rstrip("\n"), template
    identity = pair("ps", "-aq", "--no-trunc").stdout.split()[0]
    for name in (identity, identity[:6], "one"):
        assert pair("inspect", "-f", "{{.Id}}", name).stdout == f"{identity}\n"
    both = json.loads(pair("inspect", "one", "two").stdout)
    assert [each["State"]["Status"] for each in both] == ["exited", "running"]
    assert both[1]["State"]["Pid"] > 1
    assert (both[1]["Mounts"][0]["Source"], both[1]["Mounts"][0]["RW"]) == ("/tmp", False)
    assert re.fullmatch(r"20.*T.*Z", both[0]["State"]["FinishedAt"])
    image = pair("inspect", "-f", "{{.Image}}", "one").stdout
    assert pair("image", "inspect", "-f", "{{.Id}}", "labelled").stdout == image
    shown = "{{.Config.StopSignal}} {{.Architecture}} {{.RepoTags}} {{.Config.Labels.k}}"
    assert pair("inspect", "-f", shown, "labelled").stdout.split()[2:] == ["[labelled]", "v"]
    for pattern in ("label*", "[l]abelled", "labelle?"):
        done = pair("image", "inspect", pattern, check=False)
        assert done.stderr.startswith(f"error: {pattern}: no such image\n")
    done = pair("inspect", "--type", "image", "one", check=False)
    assert done.stderr.startswith("error: one: no such image\n")
    done = pair("inspect", "-f", "{{.State.Nope}}", "one", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "template: no such field: .State.Nope" in done.stderr
    assert "there are .Status, .Running" in done.stderr


def test_logs(pair: Place) -> None:
    done = pair("logs", "one")
    assert (done.stdout, done.stderr) == ("out\npart", "err\n")
    assert pair("logs", "--tail", "1", "one").stdout == "part"
    assert pair("logs", "--tail", "0", "one").stdout == ""
    assert pair("logs", "--tail", "all", "--since", "1h", "one").stdout == "out\npart"
    stamped = pair("logs", "-t", "one").stdout
    pattern = r"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) out\n\S+ part"
    match = re.fullmatch(pattern, stamped)
    assert match, stamped
    assert pair("logs", "--until", match[1], "one").stdout == "out\n"
    assert pair("logs", "--since", "2100-01-01", "one").stdout == ""
    for option in ("--since=bogus", "--until=x", "--tail=x"):
        assert pair("logs", option, "one", check=False).returncode == 125
    assert pair("logs", "nosuch", check=False).stderr.startswith("error: nosuch: no such container")


def test_a_log_on_a_full_disk(empty: Place) -> None:
    """What the log can't take is lost, and neither the command nor its exit status."""
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; echo end >&2; exit 3"
    limit = 1 << 14  # of a file, in place of a disk; the log needs more than thrice as much
    subprocess.run(
        [*command("sundog"), "run", "-d", "--name", "c", "busybox", "sh", "-c", script],
        env=os.environ | empty.environment,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        check=True,
    )
    assert empty("wait", "c").stdout == "3\n"
    lines = empty("logs", "c").stdout.splitlines()
    assert 0 < len(lines) < 3000
    assert lines == [str(number) for number in range(len(lines))]


def open_files(process: int) -> list[str]:
    """Return what the descriptors of a process lead to."""
    found = []
    for number in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(number))
    return found


@pytest.mark.parametrize(
    ("options", "end", "expected"),
    [
        ((), signal.SIGCONT, "7\n"),
        ((), signal.SIGKILL, "7\n"),  # the container's own process has written it, too
        (("--rm",), signal.SIGCONT, "7\n"),
        (("--rm",), signal.SIGKILL, "-1\n"),
    ],
)
def test_a_status_that_is_not_there_yet(
    empty: Place, options: tuple[str, ...], end: signal.Signals, expected: str
) -> None:
    """A container has ended when its exit status is there, or nobody is left who knows it."""
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    empty("run", "-d", "--name", "s", *options, "busybox", "sh", "-c", script)
    until(empty, "ready", "logs", "s")
    process = int(empty("inspect", "--format", "{{.State.Pid}}", "s").stdout)
    status = Path(f"/proc/{process}/stat")
    keeper = int(status.read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGSTOP)
    os.kill(process, signal.SIGUSR1)
    while status.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert empty("ps", "-q", "--filter", "name=s").stdout  # nor does ps make anything end
    shown = empty("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "s").stdout
    assert shown == "running 0\n"
    with background(empty, "wait", "s") as waiter:
        assert waiter.stdout is not None
        while not any(link.endswith("/s/exit") for link in open_files(waiter.pid)):
            time.sleep(0.01)
        os.kill(keeper, end)
        assert waiter.stdout.read() == expected
    empty("rm", "-i", "s")


def test_following_a_log(empty: Place) -> None:
    """-f prints what comes, and ends with the container."""
    script = "echo one; read x </gate; echo two; exit 4"
    empty("run", "-d", "--name", "f", "busybox", "sh", "-c", f"mkfifo /gate; {script}")
    with background(empty, "logs", "-f", "f") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "one\n"
        empty("exec", "f", "sh", "-c", "echo go >/gate")
        assert follower.stdout.read() == "two\n"
    assert follower.returncode == 0
    assert empty("wait", "f").stdout == "4\n"


def test_top(pair: Place) -> None:
    rows = pair("top", "two").stdout.splitlines()
    heading = "USER        PID         PPID        %CPU        ELAPSED"
    assert rows[0].startswith(heading)
    assert rows[0].split() == [
        *("USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND")
    ]
    assert rows[1].split(None, 7)[-1].startswith("sh -c trap")
    found = pair("top", "two", "pid", "comm").stdout.splitlines()
    assert found[0].split() == ["PID", "COMMAND"]
    assert found[1].split()[1] == "sh"
    done = pair("top", "two", "bogus", check=False)
    assert done.stderr.startswith("error: top: no such column: bogus\nhint: there are args, comm")
    done = pair("top", "one", check=False)
    assert done.stderr.startswith("error: one: it has ended")


@pytest.mark.parametrize("user", [[], ["--userns=keep-id"]], ids=["notify", "keep-id"])
def test_stop_signals(user: list[str], empty: Place) -> None:
    """stop sends the image's STOPSIGNAL, or --stop-signal, and not TERM."""
    trap = 'for s in TERM USR1 USR2; do trap "echo $s; exit 7" $s; done; echo tick; '
    script = f"{trap} while :; do sleep 0.05; done"
    for name, options, said in (("image", [], "USR1"), ("own", ["--stop-signal=USR2"], "USR2")):
        empty("run", "-d", "--name", name, *user, *options, "labelled", script)
        until(empty, "tick", "logs", name)
        assert empty("stop", name).stdout == f"{name}\n"
        assert empty("logs", name).stdout == f"tick\n{said}\n"
        assert empty("wait", name).stdout == "7\n"
    deaf = "trap '' TERM; echo tick; while :; do sleep 0.05; done"
    empty("run", "-d", "--name=deaf", "--stop-timeout=0", *user, "busybox", "sh", "-c", deaf)
    until(empty, "tick", "logs", "deaf")
    assert empty("stop", "deaf").stdout == "deaf\n"
    assert empty("wait", "deaf").stdout == "137\n"
    assert empty("stop", "-i", "nosuch").returncode == 0
    for option in ("--stop-timeout=x", "--stop-signal=FOO", "--stop-signal=RTMIN+99"):
        for words in (("run", "--rm"), ("create",)):
            done = empty(*words, option, "busybox", "true", check=False)
            assert (done.returncode, done.stdout) == (125, "")
            assert done.stderr.startswith(f"error: {option.replace('=', ' ')}: ")
    for subcommand in ("stop", "restart"):
        done = empty(subcommand, "--time", "9" * 400, "deaf", check=False)
        assert done.stderr.endswith("9: not a number\nhint: it is 0 or more\n")
    assert empty("kill", "deaf", check=False).returncode == 1


def test_images(place: Place) -> None:
    assert place("images", "-q", "--filter", "dangling=true").stdout == ""
    assert len(place("images", "-q", "--filter", "dangling=false").stdout.split()) >= 4
    form = ["--format", "{{.Repository}}:{{.Tag}}"]
    for text, names in {
        "reference=*bus*": ["busybox:latest"],
        "reference=labelled:latest": ["labelled:latest"],
        "label=k=v": ["labelled:latest"],
        "label=k=w": [],
        "until=1000h": [],
    }.items():
        assert place("images", "--filter", text, *form).stdout.split() == names, text
    # The times of images are whole seconds.
    created = {}
    for line in place(
        "images", "--format", "{{.Repository}}:{{.Tag}} {{.CreatedAt}}"
    ).stdout.splitlines():
        name, _, when = line.partition(" ")
        created[name] = when
    later = {name for name, when in created.items() if when > created["busybox:latest"]}
    assert set(place("images", "--filter", "since=busybox", *form).stdout.split()) == later
    identity = place("images", "-q", "--no-trunc", "labelled").stdout.strip()
    assert len(identity) == 64
    assert place("images", "-q", "--filter", f"id={identity[:8]}").stdout == f"{identity[:12]}\n"
    assert place("images", "--format", "{{.Labels}}", "labelled").stdout == "map[k:v z:a b]\n"
    done = place("images", "--filter", "bogus=1", check=False)
    assert done.returncode == 125
    assert "--filter bogus=1: no such filter" in done.stderr


def storage_of(place: Place) -> Path:
    return place.path / "storage"


MAKING = """\
echo mine >/new; chown 42:43 /new; chmod 4755 /new; rm /etc/passwd
mkdir /etc/dir; chown 7 /etc/dir; mknod /etc/null c 1 3; echo more >>/etc/group
rm -r /work; mkdir /work
"""
SHOWN = (
    "stat -c '%n %u:%g %a %F' /new /etc/dir /etc/null /etc/passwd /work /work/made 2>&1; cat /new"
)
AFTER = """\
/new 42:43 4755 regular file
/etc/dir 7:0 755 directory
/etc/null 0:0 644 character special file
stat: can't stat '/etc/passwd': No such file or directory
/work 0:0 755 directory
stat: can't stat '/work/made': No such file or directory
mine
"""


def test_changes_are_kept(empty: Place) -> None:
    """A container without --rm has its changes, and their owners, at the next start."""
    empty(
        "run",
        "--name",
        "kept",
        "--entrypoint",
        "sh",
        "app",
        "-c",
        f"test -e /new || {{ {MAKING} }}; {SHOWN}",
    )
    for _ in range(2):
        assert empty("start", "-a", "kept").stdout == AFTER
    assert empty("diff", "kept").stdout.splitlines() == [
        *("C /etc", "A /etc/dir", "C /etc/group", "A /etc/null", "D /etc/passwd"),
        *("A /new", "C /work", "D /work/made"),
    ]
    kinds = json.loads(empty("diff", "--format", "json", "kept").stdout)
    assert kinds["deleted"] == ["/etc/passwd", "/work/made"]
    size = empty("ps", "-as", "--format", "{{.Size}}").stdout
    assert int(size.partition("B ")[0]) > 0
    image = empty("commit", "-m", "why", "-a", "ada", "kept", "committed").stdout.strip()
    assert empty("inspect", "-f", "{{.Id}} {{.Author}}", "committed").stdout == f"{image} ada\n"
    assert empty("run", "--rm", "committed").stdout == AFTER  # the container's own command
    empty("commit", "-c", 'ENTRYPOINT ["echo"]', "-c", "CMD changed", "kept", "again")
    assert empty("run", "--rm", "again", "x").stdout == "x\n"
    assert "sundog-commit" not in empty("images").stdout
    for words, said in {
        ("-c", "BOGUS x"): "--change 'BOGUS x': not one instruction that changes only",
        ("-c", "FROM busybox"): "--change 'FROM busybox': not one instruction that changes only",
        ("-c", "ENV A=b\nRUN id"): r"--change 'ENV A=b\nRUN id': not one instruction",
        ("-c", ""): "--change '': not one instruction",
        ("--format", "zip"): "--format zip: an image has the format of OCI or of docker",
    }.items():
        done = empty("commit", *words, "kept", "third", check=False)
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr.startswith(f"error: {said}")
    done = empty("commit", "-c", "ENV", "kept", "third", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert empty("image", "exists", "third", check=False).returncode == 1
    empty("rmi", "-f", "no-such", "committed", "again")
    assert empty("rmi", "--force", "no-such").stdout == ""
    assert empty("rmi", "--force", "co*", check=False).returncode == 125
    assert empty("rmi", "no-such", check=False).returncode == 1
    layers = set(os.listdir(storage_of(empty) / "layers"))
    assert empty("rm", "kept").stdout == "kept\n"
    assert set(os.listdir(storage_of(empty) / "layers")) < layers


def test_ids(empty: Place, tmp_path: Path) -> None:
    """The ID, or its first digits, stand for the name everywhere."""
    file = tmp_path / "id"
    empty("run", "-d", "--name", "c", "--cidfile", file, "busybox", "sleep", "1000")
    identity = file.read_text()
    assert empty("ps", "-q", "--no-trunc").stdout == f"{identity}\n"
    assert empty("exec", identity[:8], "echo", "in").stdout == "in\n"
    assert empty("stop", "-t", "0", identity).stdout == f"{identity}\n"
    assert empty("inspect", "-f", "{{.Name}}", identity[:4]).stdout == "c\n"
    done = empty("create", "--cidfile", file, "busybox", "true", check=False)
    assert done.stderr.splitlines()[0] == f"error: --cidfile {file}: File exists"
    for words in (("run",), ("create", "--name", "d")):
        lost = tmp_path / "lost" / "id"
        done = empty(*words, "--cidfile", lost, "busybox", "true", check=False)
        assert done.stderr == (
            f"error: --cidfile {lost}: No such file or directory\nhint: there is no {lost.parent}\n"
        )
    assert empty("ps", "-aq", "--no-trunc").stdout == f"{identity}\n"
    other = tmp_path / "other"
    done = empty("create", "--cidfile", other, "/bin", "true", check=False)
    assert (done.returncode, other.exists()) == (125, False)
    assert empty("rm", identity[:12]).stdout == f"{identity[:12]}\n"


def test_rm_keeps_nothing(empty: Place) -> None:
    assert empty("run", "--rm", "busybox", "touch", "/x").returncode == 0
    assert empty("run", "--rm", "--name", "gone", "busybox", "touch", "/x").returncode == 0
    assert empty("ps", "-aq").stdout == ""
    assert (
        empty("run", "--name", "gone", "busybox", "sh", "-c", "exit 9", check=False).returncode == 9
    )
    assert (
        empty("ps", "-a", "--format", "{{.Names}} {{.State}} {{.ExitCode}}").stdout
        == "gone exited 9\n"
    )
    refused(
        empty("run", "--name", "gone", "busybox", "true", check=False),
        "error: an ended container has the name gone",
        "hint: sundog rm gone",
    )


def test_two_containers_want_a_name(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One gets it, and nothing is left of the other one, wherever they meet."""
    for name, value in empty.environment.items():
        monkeypatch.setenv(name, value)
    empty("create", "--name", "first", "busybox", "true")
    containers = own_containers(empty.environment["CH_IMAGE_STORAGE"])
    first = containers.get("first").changed(name="same", identity="1" * 64)
    second = first.changed(identity="2" * 64)
    fill = kept._fill

    def fill_between(place: str, image: str) -> None:
        fill(place, image)
        if "1" * 64 in place:
            assert containers.kept.make(second)

    monkeypatch.setattr(kept, "_fill", fill_between)
    with pytest.raises(SundogError, match=r"^a container has the name same$"):
        containers.kept.make(first)
    assert containers.get("same").identity == "2" * 64
    assert [each.name for each in containers.list()] == ["first", "same"]


def test_rm_meets_a_start(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that starts after rm has seen that it does not run stays as it is."""
    for name, value in empty.environment.items():
        monkeypatch.setenv(name, value)
    empty("create", "--name", "c", "busybox", "sleep", "1000")
    storage = empty.environment["CH_IMAGE_STORAGE"]
    containers = own_containers(storage)
    seen = containers.get("c")
    empty("start", "c")
    with pytest.raises(SundogError, match=r"^c: it runs$"):
        remove(containers, [seen], Context(storage))
    assert empty("exec", "c", "echo", "in").stdout == "in\n"


@pytest.mark.parametrize("user", [[], ["--userns=keep-id"]], ids=["notify", "keep-id"])
def test_create_and_restart(user: list[str], empty: Place) -> None:
    """What create was told holds at each start, wherever that is."""
    script = "echo run >>/runs; cat /runs; echo $WHO; cat /data/in; pwd; exec sleep 1000"
    (empty.path / "in").write_text("given\n")
    argv = [*command("sundog"), "create", *user, "--name", "c", "-e", "WHO", "-w", "/tmp"]
    argv += ["-v", "./:/data", "busybox", "sh", "-c", script]
    environment = empty.environment | {"WHO": "me"}
    assert run_program(argv, env=environment, cwd=empty.path).stdout == "c\n"
    assert empty("ps", "-a", "--format", "{{.State}} {{.Status}}").stdout == "created Created\n"
    assert empty("start", "c").stdout == "c\n"
    until(empty, "/tmp", "logs", "c")
    assert empty("start", "c").stdout == "c\n"  # it runs
    assert empty("restart", "-t", "0", "c").stdout == "c\n"
    until(empty, "run\nrun\nme\ngiven\n/tmp\n", "logs", "c")
    assert empty("exec", "c", "wc", "-l", "/runs").stdout == "2 /runs\n"
    done = empty("commit", "c", "x", check=False)
    assert done.stderr.splitlines() == ["error: c: it runs", "hint: sundog stop c"]
    empty("stop", "-t", "0", "c")
    done = empty("cp", "/no-such", "c:/x", check=False)
    assert done.stderr == "error: /no-such: no such file or directory on the host\n"
    empty("commit", "c", "x")
    shown = "{{index .Config.Env 1}} {{.Config.WorkingDir}} {{index .Config.Cmd 0}}"
    assert empty("inspect", "-f", shown, "x").stdout == "WHO=me /tmp sh\n"
    empty("rmi", "x")
    assert empty("container", "exists", "--external", "c").stdout == ""
    assert empty("rm", "-a").stdout == "c\n"
    assert empty("container", "exists", "c", check=False).returncode == 1


def test_the_machine_dies(empty: Place) -> None:
    """After a power cut, a container that ran has ended, and starts again with its changes."""
    script = "cat /new; echo mine >/new; chown 5 /new; sync; echo tick; exec sleep 1000"
    empty("run", "-d", "--name", "c", "busybox", "sh", "-c", script)
    until(empty, "tick", "logs", "c")
    listed = json.loads(empty("ps", "--format", "json").stdout)
    # The power cut: all processes go at once, and the boot that the record names is over.
    pids = [int(pid) for pid in empty("top", "c", "pid").stdout.split()[1:]]
    for pid in [listed[0]["Pid"], *pids]:
        os.kill(pid, signal.SIGKILL)
    until(empty, "exited", "ps", "-a", "--format", "{{.State}}")
    records = list((empty.path / "run").glob("sundog/containers/c/state.json"))
    for record in records:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"boot": "before"}))
    assert empty("ps", "-q").stdout == ""
    assert empty("start", "c").stdout == "c\n"
    until(empty, "mine\ntick", "logs", "c")
    empty("rm", "-f", "c")


def test_a_deleted_image_stays_for_its_containers(empty: Place) -> None:
    """An image that a container uses must not lose its layers."""
    context = empty.path / "short"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo layer >/layer\n")
    empty("build", "-t", "short", "-q", "--no-cache", context)
    empty("create", "--name", "c", "short", "cat", "/layer")
    empty("rmi", "short")
    empty("builder", "prune")
    assert empty("start", "-a", "c").stdout == "layer\n"
    assert empty("start", "-a", "c").stdout == "layer\n"
    empty("rm", "c")
    trees = storage_of(empty).glob("layers/*/tree/layer")
    assert not list(trees)


def test_where_nothing_can_be_kept(place: Place, tmp_path: Path, busybox_tar: Path) -> None:
    """Without overlays in the storage, create is refused, and run goes on as it always did."""
    environment = place.environment | {
        "CH_IMAGE_STORAGE": str(tmp_path / "storage"),
        "CH_IMAGE_DRIVER": "copy",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }

    def run(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run_program([*command("sundog"), *words], env=environment, check=check)

    run("import", busybox_tar, "busybox")
    assert run("run", "busybox", "sh", "-c", "echo x >/x; cat /x").stdout == "x\n"
    assert run("ps", "-aq").stdout == ""
    done = run("create", "busybox", "true", check=False)
    assert done.returncode == 125
    assert done.stderr.startswith("error: create: busybox: here no container can keep its changes")
    tree = tmp_path / "tree"
    tree.mkdir()
    done = run("create", str(tree), "true", check=False)
    assert done.returncode == 125
    assert not (tmp_path / "storage" / "containers").exists()


def test_processes_that_are_left(empty: Place) -> None:
    """A container does not start again while a process still writes to its changes."""
    with background(
        empty, "run", "-i", "--userns=keep-id", "--name", "c", "busybox", "cat"
    ) as first:
        assert first.stdin is not None
        until(empty, "c", "ps", "--format", "{{.Names}}")
        with background(empty, "exec", "-i", "c", "sh", "-c", "echo in; cat; sleep 1") as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "in\n"
            first.stdin.close()
            first.wait(60)
            done = empty("start", "c", check=False)
            assert done.returncode == 125
            assert done.stderr.startswith("error: c: processes of it are left\n")
            assert second.stdin is not None
            second.stdin.close()
            # It waits for what is about to end, as a supervisor whose command was killed.
            assert empty("start", "-a", "c").returncode == 0
    assert (
        empty("ps", "-a", "--format", "{{.Status}} {{.ExitCode}}").stdout == "Exited (unknown) -1\n"
    )


PRUNED = """\
WARNING! This will remove all non running containers.
Are you sure you want to continue? [y/N] """


def test_prunes(empty: Place) -> None:
    """As podman prints them: recorded from podman 5.4."""
    empty("run", "--name", "one", "busybox", "true")
    empty("run", "-d", "--name", "two", "labelled", TICKS)
    one, _ = empty("ps", "-aq", "--no-trunc").stdout.split()
    argv = [*command("sundog"), "container", "prune"]
    environment = os.environ | empty.environment
    no = subprocess.run(
        argv, env=environment, input="n\n", capture_output=True, text=True, check=True
    )
    assert no.stdout == PRUNED
    yes = subprocess.run(
        argv, env=environment, input="y\n", capture_output=True, text=True, check=True
    )
    assert yes.stdout == f"{PRUNED}{one}\n"
    assert empty("container", "prune", "-f").stdout == ""
    empty("tag", "user", "unused")
    unused = empty("inspect", "-f", "{{.Id}}", "unused").stdout
    assert empty("system", "prune", "-f").stdout == "Total reclaimed space: 0B\n"
    empty("run", "--name", "stays", "busybox", "true")
    for text in ("status=exited", "reference=x", "until=x"):  # refused before anything goes
        done = empty("system", "prune", "-af", "--filter", text, check=False)
        assert (done.returncode, done.stdout) == (125, "")
    assert empty("image", "prune", "-f", "--filter", "x=y", check=False).returncode == 125
    assert empty("ps", "-a", "--format", "{{.Names}}").stdout == "two\nstays\n"
    empty("rm", "stays")
    assert empty("image", "exists", "unused").returncode == 0
    assert empty("image", "prune", "-af", "--filter", "reference=unused").stdout == unused
    assert empty("image", "exists", "unused", check=False).returncode == 1
    assert empty("image", "exists", "labelled").returncode == 0


def test_system_prune_of_everything(tmp_path: Path, place: Place, busybox_tree: Path) -> None:
    """Images that a container uses stay; the others go, with the build cache."""
    storage = tmp_path / "storage"
    own = {"CH_IMAGE_STORAGE": str(storage), "XDG_RUNTIME_DIR": str(tmp_path)}
    environment = place.environment | own

    def run(*words: str | Path) -> str:
        return run_program([*command("sundog"), *words], env=environment).stdout

    (busybox_tree / "unlike").write_bytes(os.urandom(8))  # no other container has this layer
    run("import", busybox_tree, "used")
    (tmp_path / "Dockerfile").write_text("FROM used\nRUN echo 1234567 >/file\n")
    run("build", "-q", "-t", "other", tmp_path)
    run("run", "--name", "old", "other", "true")
    run("run", "-d", "--name", "runs", "used", "sleep", "1000")
    old = run("inspect", "-f", "{{.Id}}", "old")
    other = run("inspect", "-f", "{{.Id}}", "other")
    assert run("system", "prune", "-af") == (
        f"Deleted Containers\n{old}Deleted Images\n{other}Total reclaimed space: 8B\n"
    )
    assert run("images", "--format", "{{.Repository}}") == "used\n"
    assert len(os.listdir(storage / "layers")) == 1
    run("rm", "-f", "runs")
    used = run("inspect", "-f", "{{.Id}}", "used")
    assert run("image", "prune", "-af") == used
    assert run("system", "prune", "-af") == "Total reclaimed space: 0B\n"


@pytest.fixture(scope="module")
def places(place: Place) -> Generator[dict[str, str]]:
    """Return a container of each kind: one that has ended, and one for each way to run."""
    # The image leads names of /proc to whoever looks them up.
    script = "ln -s /proc/self/fd /fds; ln -s /proc/self/cwd /cwd; mkdir /empty; echo in >/file"
    wait = f"{script}; echo tick; exec sleep 1000"
    place("run", "--name", "ended", "busybox", "sh", "-c", script)
    place("run", "-d", "--name", "notify", "busybox", "sh", "-c", wait)
    place("run", "-d", "--name", "keep-id", "--userns=keep-id", "busybox", "sh", "-c", wait)
    for name in ("notify", "keep-id"):
        until(place, "tick", "logs", name)
    yield {name: name for name in ("ended", "notify", "keep-id")}
    place("rm", "-f", "ended", "notify", "keep-id")


@pytest.mark.parametrize("name", ["ended", "notify", "keep-id"])
def test_cp(name: str, places: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The rules of podman-cp(1) for names, in both directions."""
    tree = tmp_path / "d"
    (tree / "sub").mkdir(parents=True)
    (tree / "f").write_text("text\n")
    (tree / "f").chmod(0o6755)
    (tree / "s").symlink_to("/etc/passwd")
    os.link(tree / "f", tree / "sub" / "hard")
    os.mkfifo(tree / "pipe")

    def cp(source: str | Path, target: str | Path, *options: str) -> str:
        done = place("cp", *options, source, target, check=False)
        assert (done.returncode == 0) == (done.stderr == "")
        return done.stderr.partition("\n")[0]

    assert cp(tree, f"{name}:/new") == ""  # its contents: nothing is there
    assert cp(tree, f"{name}:/empty") == ""
    assert cp(f"{tree}/.", f"{name}:/empty") == ""
    assert cp(tree / "f", f"{name}:/empty/other") == ""
    assert cp(tree / "f", f"{name}:/empty/other") == ""
    back = tmp_path / "back"
    assert cp(f"{name}:/empty", back) == ""
    assert sorted(str(path.relative_to(back)) for path in back.rglob("*")) == [
        *("d", "d/f", "d/pipe", "d/s", "d/sub", "d/sub/hard"),
        *("f", "other", "pipe", "s", "sub", "sub/hard"),
    ]
    assert (back / "d" / "s").readlink() == Path("/etc/passwd")
    # No set-id bits: others of the machine would get the caller's rights.
    assert (back / "f").stat().st_mode & 0o7777 == 0o755
    assert (back / "f").samefile(back / "sub" / "hard")
    assert cp(f"{name}:/new/f", tmp_path / "one") == ""
    assert (tmp_path / "one").read_text() == "text\n"
    environment = os.environ | place.environment
    argv = [*command("sundog"), "cp", f"{name}:/new", "-"]
    stream = subprocess.run(argv, env=environment, check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(stream.stdout)) as tar:
        assert sorted(tar.getnames())[:3] == ["new", "new/f", "new/pipe"]
    argv = [*command("sundog"), "cp", "-", f"{name}:/empty/sub"]
    subprocess.run(argv, env=environment, input=stream.stdout, check=True)
    assert cp(f"{name}:/empty/sub/new/f", tmp_path / "two") == ""
    nothing = f"no such file or directory in container {name}"
    assert cp(f"{name}:/nosuch", tmp_path) == f"error: /nosuch: {nothing}"
    assert cp(tree / "f", f"{name}:/no/such/dir") == f"error: /no/such/dir: {nothing}"
    assert cp(tree, f"{name}:/file") == "error: /file: not a directory"


@pytest.mark.parametrize("name", ["ended", "notify", "keep-id"])
def test_cp_meets_a_hostile_image(
    name: str, places: dict[str, str], place: Place, tmp_path: Path
) -> None:
    """No name of an image, and no tar, leads to what the copying process holds, or out."""
    (tmp_path / "secret").write_text("secret")
    for path in ("/fds/0", "/fds/3", "/fds/4", "/cwd", "/cwd/secret"):
        done = place("cp", f"{name}:{path}", tmp_path / "out", check=False)
        assert done.returncode == 1, path
        if path != "/cwd" or name != "ended":  # without /proc, the link leads to nothing
            done = place("cp", tmp_path / "secret", f"{name}:{path}", check=False)
            assert done.returncode == 1, path
    assert not (tmp_path / "out").exists()
    (tmp_path / "target").mkdir()
    for member, kind, link in (
        ("../up", tarfile.REGTYPE, ""),
        ("/../up", tarfile.REGTYPE, ""),
        ("hard", tarfile.LNKTYPE, "../secret"),
    ):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            info = tarfile.TarInfo(member)
            info.type, info.linkname = kind, link
            tar.addfile(info)
        argv = [*command("sundog"), "cp", "-", f"{name}:/empty"]
        done_bytes = subprocess.run(
            argv,
            env=os.environ | place.environment,
            input=data.getvalue(),
            check=False,
            capture_output=True,
        )
        assert done_bytes.returncode == 1
        assert b"a path in the tar leads up" in done_bytes.stderr
    # A link that the container makes in the way of a copy to the host is not followed.
    (tmp_path / "target" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    if name != "ended":
        place(
            "exec", name, "sh", "-c", "rm -rf /tmp/t; mkdir -p /tmp/t/link; echo x >/tmp/t/link/f"
        )
        done = place("cp", f"{name}:/tmp/t/.", tmp_path / "target", check=False)
        assert done.returncode == 1
    assert os.listdir(tmp_path / "elsewhere") == []


def test_cp_ends_when_one_side_fails(places: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The other side may have more to say than a pipe holds."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(bytes(1 << 20))
    place("exec", "notify", "mkdir", "-p", "/blocked/d/f")
    done = place("cp", tmp_path / "d", "notify:/blocked", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: d/f: a directory is in the place of a file\n")
    # The kernel of the container refuses, and not that of the host.
    done = place("cp", tmp_path / "d", "notify:/sys", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "error: d: permission denied in container notify\n",
    )
    deep = "cd /tmp; i=0; while [ $i -lt 1500 ]; do mkdir x && cd x || exit; i=$((i+1)); done"
    place("exec", "keep-id", "sh", "-c", deep)
    done = place("cp", "keep-id:/tmp/x", tmp_path / "out", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "error: directories are nested too deeply for cp\n",
    )
    place("exec", "keep-id", "rm", "-r", "/tmp/x")
    line = ["sh", "-c", 'exec "$@" >/dev/full', "sh", *command("sundog"), "cp", "ended:/bin", "-"]
    done = run_program(line, env=place.environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: /dev/stdout: no space left on ")


def test_cp_between_containers(places: dict[str, str], place: Place, tmp_path: Path) -> None:
    place("cp", "ended:/file", "notify:/from-ended")
    assert place("exec", "notify", "cat", "/from-ended").stdout == "in\n"
    place("cp", "notify:/from-ended", "ended:/back")
    place("cp", "ended:/back", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "in\n"
    refused(
        place("cp", "a/b", "c/d", check=False),
        "error: cp: neither is in a container",
        "hint: sundog cp CONTAINER:PATH PATH, or sundog cp PATH CONTAINER:PATH; - is a tar",
    )


def test_time_has_passed(empty: Place) -> None:
    """wait ends when the container does, and not before."""
    empty("run", "-d", "--name", "c", "busybox", "sleep", "0.3")
    start = time.monotonic()
    assert empty("wait", "c").stdout == "0\n"
    assert time.monotonic() - start < 30
    assert empty("wait", "-i", "nosuch", "c").stdout == "-1\n0\n"
    assert empty("wait", "nosuch", check=False).returncode == 1
