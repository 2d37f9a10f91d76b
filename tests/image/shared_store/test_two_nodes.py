"""Two nodes use one store at once, and neither sees the locks of the other one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from sundog.front.doctor.outcome import NOT_HERE
from sundog.image.store.store import Store
from tests.image.shared_store.conftest import BOUND, Node, Program, Site, finished

WARNING = "other nodes may not see locks on fuse at "
# How often each user of a node goes through ``WORK``; `make kills` uses more.
ROUNDS = int(os.environ.get("SUNDOG_NODE_ROUNDS", "2"))
PATIENCE = 60 * (1 + ROUNDS)  # seconds
SLOW = 8  # seconds that a command may need beside its waiting: other tests share the machine

# What one user of a node does.  Every round ends without images of its own.
WORK = """
set -e
for round in $(seq {rounds}); do
    {image} pull {base} {me}-pulled
    {image} build -t {me}-$round -f {dockerfile} --build-arg=ROUND=$round {context}
    test "$({run} {me}-$round -- cat /common /{own})" = "common $round {own}"
    {image} tag {me}-$round {me}-kept
    {image} delete {me}-pulled {me}-$round
    test "$({run} {me}-kept -- cat /common)" = "common $round"
done
"""
DOCKERFILE = """
FROM {base}
ARG ROUND
RUN echo -n "common $ROUND" > /common
RUN echo " {own}" > /{own}
"""


def warnings(text: str) -> list[str]:
    """Return the warnings in the messages of a command, each once."""
    return sorted(set(re.findall(r"^warning: (?!reprinting).*", text, re.MULTILINE)))


@pytest.fixture
def nodes(site: Site) -> tuple[Node, Node]:
    return site.node("login1"), site.node("node2")


def pushed(site: Site, node: Node, tar: Path) -> str:
    """Put an image into the registry; return its name there."""
    base = f"{site.registry}/busybox:1"
    node.run("ch-image", "import", tar, base)
    node.run("ch-image", "push", "--tls-no-verify", base)
    node.run("ch-image", "delete", base)
    return base


def is_whole(site: Site, node: Node) -> None:
    """Check every blob and layer by its digest, and that nothing is left over.

    A command on ``node`` comes first: it removes what an earlier one had to leave.
    """
    node.run("ch-image", "list")
    store = site.store
    for blob in (store / "blobs").glob("sha*/*"):
        assert hashlib.new(blob.parent.name, blob.read_bytes()).hexdigest() == blob.name
    assert [name for name in os.listdir(store / "tmp") if name != "trash"] == []
    assert os.listdir(store / "tmp/trash") == []
    assert os.listdir(store / "locks/claims") == []
    with Store.open(str(store)) as opened:
        images = opened.images.list()
        needed = {layer for image in images for layer in image.layers}
        needed |= {entry.needs for entry in opened.cache.entries() if entry.is_result}
        assert set(opened.layers.list()) == needed
        for layer in needed:
            known = opened.layers.info(layer).diff_id
            made = opened.layers.write_tar(layer, b"/dev/null")
            assert known in {"", made} or opened.layers.blobs(layer)


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE + 120)
def test_nodes_pull_build_run_and_delete_at_once_and_one_is_killed(
    site: Site, nodes: tuple[Node, Node], busybox_tar: Path, tmp_path: Path
) -> None:
    base = pushed(site, nodes[0], busybox_tar)
    doomed = site.node("doomed")
    (tmp_path / "context").mkdir()
    users = {}
    for node in (*nodes, doomed):
        for user in ("ann", "bob"):
            me = f"{node.name}-{user}"
            dockerfile = tmp_path / me
            dockerfile.write_text(DOCKERFILE.format(base=base, own=me))
            script = WORK.format(
                rounds=ROUNDS,
                base=base,
                me=me,
                own=me,
                dockerfile=dockerfile,
                context=tmp_path / "context",
                image="ch-image --tls-no-verify",
                run="ch-run",
            )
            users[me] = node.start("sh", "-c", script)
    wait_for(site.store / "images", "*doomed*")
    doomed.die()
    for user in ("ann", "bob"):
        finished(users.pop(f"doomed-{user}"), check=False)
    for process in users.values():
        done = finished(process, timeout=PATIENCE)
        assert warnings(done.stderr) == []  # the first command of all has given it
    for node in nodes:
        kept = node.run("ch-image", "list", "[!d]*").stdout.split()
        assert kept == [base, *sorted(f"{me}-kept" for me in users)]  # a build's base stays
        for me in users:
            done = node.run("ch-run", f"{me}-kept", "--", "cat", "/common", f"/{me}")
            assert done.stdout == f"common {ROUNDS} {me}\n"
    time.sleep(BOUND)
    settle(site, *nodes)
    is_whole(site, nodes[0])


def wait_for(directory: Path, pattern: str) -> None:
    """Wait until something in a directory has a name."""
    deadline = time.monotonic() + 60
    while not list(directory.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def settle(site: Site, *nodes: Node) -> None:
    """Let more than an hour pass since the last start, and each node run a command."""
    for note in (site.store / "running").glob("*/*"):
        os.utime(note, (time.time() - 3700,) * 2, follow_symlinks=False)
    for node in (*nodes, *nodes):
        node.run("ch-image", "list")


@pytest.mark.parametrize("locks", ["unseen", "ENOLCK"])
def test_one_warning(site: Site, busybox_tar: Path, locks: str) -> None:
    nodes = [site.node("login1", locks), site.node("node2", locks)]
    starts = [node.start("ch-image", "import", busybox_tar, node.name) for node in (*nodes, *nodes)]
    found = [warning for start in starts for warning in warnings(finished(start).stderr)]
    assert len(found) == 1
    assert WARNING in found[0]
    assert nodes[0].run("ch-image", "list").stdout.split() == ["login1", "node2"]
    assert warnings(nodes[1].run("ch-image", "delete", "login1", "node2").stderr) == []
    is_whole(site, nodes[0])
    assert list((site.store / "layers").iterdir()) == []


def test_the_doctor_tells(site: Site) -> None:
    done = site.node("login1", "ENOLCK").run("ch-checkns", "--all", "--json", check=False)
    (row,) = [row for row in json.loads(done.stdout) if row["name"] == "storage: locks"]
    assert row["state"] == NOT_HERE
    assert row["detail"].startswith(WARNING)


def build(node: Node, tmp_path: Path, command: str) -> Program:
    """Start a build with one RUN, in which it says ``begun`` and then executes ``command``."""
    dockerfile = tmp_path / "slow"
    dockerfile.write_text(f"FROM busy\nRUN echo begun && {command}\n")
    return node.start("ch-image", "build", "-t", f"of-{node.name}", "-f", dockerfile, tmp_path)


def begun(node: Node, busybox_tar: Path, tmp_path: Path, command: str) -> Program:
    """Import the base, start a build, and wait until its RUN executes ``command``."""
    node.run("ch-image", "import", busybox_tar, "busy")
    started = build(node, tmp_path, command)
    said(started, "begun")
    return started


def said(process: Program, word: str) -> None:
    """Read what a program says, up to ``word``."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    pytest.fail(f"it ended without {word}: {finished(process, check=False).stderr}")


def waiting(process: Program) -> None:
    """Read the messages of a build until it waits for another one."""
    assert process.stderr is not None
    for line in process.stderr:
        if "waiting" in line:
            return
    pytest.fail("it did not wait")


@pytest.mark.slow
def test_nobody_waits_for_a_node_that_died_beyond_the_bound(
    site: Site, nodes: tuple[Node, Node], busybox_tar: Path, tmp_path: Path
) -> None:
    one, other = nodes
    first = begun(one, busybox_tar, tmp_path, "test $(hostname) != login1 || sleep 300")
    second = build(other, tmp_path, "test $(hostname) != login1 || sleep 300")
    waiting(second)
    time.sleep(BOUND + 1)
    assert second.poll() is None  # the first node lives, so the other one waits
    one.die()
    start = time.monotonic()
    finished(first, check=False)
    finished(second)
    assert time.monotonic() - start < BOUND + SLOW
    other.run("ch-image", "delete", "busy", "of-node2")
    other.run("ch-image", "build-cache", "--reset")
    is_whole(site, other)


def processes_of(node: Node) -> list[int]:
    """Return the processes of ``ch-image`` on a node, outside of containers."""
    namespace = os.readlink(f"/proc/{node.pid}/ns/pid")
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path("/proc", name, "cmdline").read_bytes()
            if os.readlink(f"/proc/{name}/ns/pid") == namespace and b"ch-image" in line:
                found.append(int(name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_command_that_was_suspended_does_not_go_on_without_its_locks(
    site: Site, nodes: tuple[Node, Node], busybox_tar: Path, tmp_path: Path
) -> None:
    one, other = nodes
    first = begun(one, busybox_tar, tmp_path, "test $(hostname) != login1 || sleep 300")
    frozen = processes_of(one)
    assert len(frozen) >= 2  # the command, and the process that gives its heartbeat
    for process in frozen:
        os.kill(process, signal.SIGSTOP)
    finished(build(other, tmp_path, "test $(hostname) != login1 || sleep 300"))
    for process in (*frozen, first.pid):  # nsenter(1) stops with its child
        os.kill(process, signal.SIGCONT)
    done = finished(first, check=False)
    assert done.returncode != 0
    assert "another node has taken the locks of this command" in done.stderr
    assert other.run("ch-image", "list").stdout.split() == ["busy", "of-node2"]
    one.run("ch-image", "delete", "busy", "of-node2")
    is_whole(site, other)


def test_a_killed_command_loses_its_locks_at_once(
    site: Site, nodes: tuple[Node, Node], busybox_tar: Path, tmp_path: Path
) -> None:
    """Its heartbeat ends with it, so the other node waits for nothing."""
    one, other = nodes
    first = begun(one, busybox_tar, tmp_path, "sleep 300")
    claims = site.store / "locks/claims"
    assert os.listdir(claims)
    for process in processes_of(one)[:1]:
        os.kill(process, signal.SIGKILL)
    finished(first, check=False)
    deadline = time.monotonic() + SLOW
    while [name for name in os.listdir(claims) if name.count(",") == 4]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    other.run("ch-image", "delete", "busy")
    is_whole(site, other)


def test_a_container_of_another_node_keeps_its_files(
    site: Site, nodes: tuple[Node, Node], busybox_tar: Path
) -> None:
    one, other = nodes
    one.run("ch-image", "import", busybox_tar, "busy")
    read = "echo ready; read x; exec /bin/busybox ls /bin/busybox"
    container = other.start("ch-run", "busy", "--", "sh", "-c", read)
    assert container.stdout is not None
    assert container.stdout.readline() == "ready\n"
    one.run("ch-image", "delete", "busy")
    one.run("ch-image", "list")
    assert list((site.store / "layers").iterdir()) == []
    assert len(os.listdir(site.store / "tmp/trash")) == 2  # the image and its layer
    settle(site, one)
    out, err = container.communicate("\n", timeout=60)
    assert (out, err) == ("/bin/busybox\n", "")
    assert len(os.listdir(site.store / "tmp/trash")) == 2
    settle(site, other, one)
    is_whole(site, other)


def test_a_note_of_a_node_that_does_not_come_back_ends(
    site: Site, nodes: tuple[Node, Node], busybox_tar: Path
) -> None:
    one, other = nodes
    one.run("ch-image", "import", busybox_tar, "busy")
    assert other.run("ch-run", "busy", "--", "hostname").stdout == "node2\n"
    other.die()
    one.run("ch-image", "delete", "busy")
    assert os.listdir(site.store / "tmp/trash")
    (note,) = (site.store / "running").glob("node2/*")
    week = 7 * 86400
    os.utime(note, (time.time() - week + 60,) * 2, follow_symlinks=False)
    one.run("ch-image", "list")
    assert os.listdir(site.store / "tmp/trash")
    os.utime(note, (time.time() - week - 60,) * 2, follow_symlinks=False)
    one.run("ch-image", "list")
    is_whole(site, one)
    assert not note.is_symlink()


def test_starts_note_an_image_once(site: Site, nodes: tuple[Node, Node], busybox_tar: Path) -> None:
    """The second start of an image makes no note, and the compiled program serves it."""
    one, other = nodes
    one.run("ch-image", "import", busybox_tar, "busy")
    for _ in range(2):
        assert other.run("ch-run", "busy", "--", "hostname").stdout == "node2\n"
    (note,) = (site.store / "running").glob("*/*")
    before = note.lstat()
    done = other.run("ch-run", "busy", "--", "hostname", SUNDOG_START="compiled")
    assert done.stdout == "node2\n"
    assert note.lstat().st_mtime_ns == before.st_mtime_ns
    os.utime(note, (time.time() - 7200,) * 2, follow_symlinks=False)
    refused = other.run("ch-run", "busy", "--", "hostname", check=False, SUNDOG_START="compiled")
    assert "an old note" in refused.stderr
    other.run("ch-run", "busy", "--", "hostname")
    assert time.time() - note.lstat().st_mtime < 3600
    other.run("ch-run", "busy", "--", "hostname", SUNDOG_START="compiled")
