"""The records of containers with a name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sundog.base.kernel.living_process import Process
from sundog.errors import SundogError
from sundog.front.cli import sundog_containers
from sundog.front.podman.container import Container
from sundog.front.podman.containers import Containers
from sundog.front.podman.kept import Kept
from sundog.front.podman.users import NOTIFY, Who

OWN = Process.of(os.getpid())


def container(name: str = "web", *, process: Process = OWN, detached: bool = False) -> Container:
    return Container(
        name,
        "img",
        ["sh"],
        process=process,
        created=1,
        workdir="/",
        storage="/s",
        user=Who(NOTIFY, "daemon"),
        detached=detached,
        identity=name.encode().hex().ljust(64, "0"),
        words=["--", "img", "sh"],
        started=1,
        kept=False,
    )


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return Containers(str(tmp_path / "run"), Kept(str(tmp_path / "storage")))


def test_record(containers: Containers) -> None:
    containers.claim(container())
    found = containers.get("web", running=True)
    assert found.to_json() == container().to_json()
    assert [each.name for each in containers.list()] == ["web"]
    with pytest.raises(SundogError, match="a container has the name web"):
        containers.claim(container())
    with pytest.raises(SundogError, match="a container has the name web"):
        containers.free("web")
    assert os.listdir(containers.directory) == ["web"]


@pytest.mark.parametrize(
    "other",
    [Process(OWN.pid, OWN.start + 1, OWN.boot), Process(OWN.pid, OWN.start, "another")],
    ids=["start", "boot"],
)
def test_ended(other: Process, containers: Containers) -> None:
    """The ID of a process that another process has now is not that of the container."""
    containers.claim(container("gone", process=other))
    containers.claim(container("kept", process=other, detached=True))
    assert [each.name for each in containers.list()] == ["kept"]
    assert not containers.get("kept").is_running
    with pytest.raises(SundogError, match="kept: it has ended"):
        containers.get("kept", running=True)
    with pytest.raises(SundogError, match="gone: no such container"):
        containers.get("gone")
    with pytest.raises(SundogError, match="an ended container has the name kept"):
        containers.free("kept")
    assert os.listdir(containers.directory) == ["kept"]


def test_the_status_of_one_that_has_just_ended(containers: Containers) -> None:
    """The keeper writes it down after a look at the record, and reaps the process."""
    gone = Process(OWN.pid, OWN.start + 1, OWN.boot)
    seen = container(process=gone, detached=True)
    containers.claim(seen.changed(status=7))
    assert vars(sundog_containers)["_awaited"](containers, seen) == 7


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"name": 1}', b"\xff", b"[" * 100_000])
def test_damaged(text: bytes, containers: Containers) -> None:
    containers.claim(container())
    with open(os.path.join(containers.directory, "web", "state.json"), "wb") as file:
        file.write(text)
    assert containers.find("web") is None
    assert containers.list() == []
    containers.free("web")
    containers.claim(container())


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "-x", "x" * 61, "a\n", "é/"])
def test_names(name: str, containers: Containers) -> None:
    with pytest.raises(SundogError, match="not a name for a container"):
        containers.find(name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("name", "other"), ("mode", "--bind=/"), ("process", "1"), ("process", True)),
        *(("process", 0), ("started", None), ("command", "sh"), ("command", [1])),
        *(("user", ["--bind=/"]), ("status", "0"), ("detached", 1), ("more", 1)),
    ],
)
def test_forged(field: str, value: object, containers: Containers) -> None:
    """A record with another field, or one of another kind, is none."""
    containers.claim(container())
    path = Path(containers.directory, "web", "state.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    assert containers.find("web") is None


def test_log(containers: Containers) -> None:
    web = container(detached=True)
    containers.claim(web)
    with open(containers.make_log(web), "wb") as log:
        log.write(b"text")
    with open(containers.open_log(web), "rb") as log:
        assert log.read() == b"text"
    with pytest.raises(SundogError, match="File exists"):
        containers.make_log(web)
    containers.remove("web")
    with pytest.raises(SundogError, match="web: can't read its output"):
        containers.open_log(web)


def test_directory(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for place in ("open", "link", "file", "file/below"):
        with pytest.raises(SundogError):
            Containers(str(tmp_path / place), Kept(str(tmp_path)))
