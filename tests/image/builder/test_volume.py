"""VOLUME: a build makes its directories, pulled images have them, and a bind covers them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from sundog.image.store.volumes import volume_paths
from tests.image.builder.conftest import announced

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.builder.conftest import Workshop

LINKS = """\
FROM bb
RUN mkdir -p /real && ln -s /real /to-directory && ln -s nowhere /dangling && echo x >/file && \\
    mkdir /kept && chmod 700 /kept && ln -s {host} /to-host
"""


def bound(workshop: Workshop, tmp_path: Path, place: str, image: str = "img") -> str:
    """Return the contents, seen in a container, of a host's directory that is bound there."""
    directory = tmp_path / "data"
    directory.mkdir(exist_ok=True)
    (directory / "here").write_text("of the host\n")
    return workshop.ch_run("-b", f"{directory}:{place}", image, "--", "cat", f"{place}/here").stdout


@pytest.mark.parametrize(
    "instruction", ["VOLUME /data /a/b/c", 'VOLUME ["/data", "/a/b/c"]', "VOLUME data /a/b/../b/c/"]
)
def test_directories_are_made(workshop: Workshop, tmp_path: Path, instruction: str) -> None:
    done = workshop.build(f"FROM bb\n{instruction}\nRUN stat -c '%a %u:%g %n' /data /a /a/b /a/b/c")
    assert done.stdout == "755 0:0 /data\n755 0:0 /a\n755 0:0 /a/b\n755 0:0 /a/b/c\n"
    for place in ("/data", "/a/b/c"):
        assert bound(workshop, tmp_path, place) == "of the host\n"


def test_of_triggers_too(workshop: Workshop, tmp_path: Path) -> None:
    workshop.build("FROM bb\nONBUILD VOLUME /data\n", tag="base")
    workshop.build("FROM base\n")
    assert bound(workshop, tmp_path, "/data") == "of the host\n"


def test_what_is_there_stays_and_nothing_leads_to_the_host(
    workshop: Workshop, tmp_path: Path
) -> None:
    host = tmp_path / "host"
    host.mkdir()
    workshop.build(
        LINKS.format(host=host)
        + "VOLUME /to-directory/new /dangling/new /file /file/new /kept /to-host/new\n"
        "RUN ls -d /real/new /nowhere/new /file && stat -c %a /kept && cat /file"
    )
    assert workshop.run("stat -c '%a %F' /kept /file") == "700 directory\n644 regular file\n"
    assert bound(workshop, tmp_path, "/dangling/new") == "of the host\n"
    assert not list(host.iterdir())


def test_a_step_that_makes_nothing_makes_no_layer(workshop: Workshop) -> None:
    text = "FROM bb\nVOLUME /data\nVOLUME /data /tmp\nRUN touch /data/x\n"
    workshop.build(text)
    history = workshop.config()["history"]
    assert [entry.get("empty_layer", False) for entry in history[-3:]] == [False, True, False]
    done = workshop.build(text)
    assert [status for _, status, _ in announced(done)] == list("****")


def imported(run_ch_image: Runner, path: Path, volumes: list[str]) -> None:
    """Import an image whose configuration has ``volumes``, and which lacks some directories."""
    with tarfile.open(path) as tar, tarfile.open(path.with_name("with.tar"), "w") as copy:
        for member in tar:
            copy.addfile(member, tar.extractfile(member) if member.isreg() else None)
        metadata = json.dumps({"volumes": volumes}).encode()
        info = tarfile.TarInfo("ch/metadata.json")
        info.size = len(metadata)
        copy.addfile(info, io.BytesIO(metadata))
        for name, target in (("link", "/real"), ("real", ""), ("var", ""), ("escape", "/../../..")):
            info = tarfile.TarInfo(name)
            info.type = tarfile.SYMTYPE if target else tarfile.DIRTYPE
            info.mode, info.linkname = 0o750, target
            copy.addfile(info)
    run_ch_image("import", path.with_name("with.tar"), "img")


def test_images_from_elsewhere_have_them(
    workshop: Workshop, tmp_path: Path, busybox_tree: Path
) -> None:
    plain = tmp_path / "plain.tar"
    with tarfile.open(plain, "w") as tar:
        tar.add(busybox_tree, ".")
    volumes = ["/data", "/var/lib/x", "/link/new", "/escape/out", "/bin/sh/x", "/", "/" + "a" * 300]
    imported(workshop.ch_image, plain, volumes)
    for place in ("/data", "/var/lib/x", "/link/new", "/real/new", "/out"):
        assert bound(workshop, tmp_path, place) == "of the host\n"
    # The files of the layers are visible as before.
    found = workshop.run("stat -c '%a %F' /var /real /link /escape && readlink /link && echo ok")
    assert found == (
        "750 directory\n750 directory\n777 symbolic link\n777 symbolic link\n/real\nok\n"
    )
    # An image that is built on it, without VOLUME, has the directories as well.
    workshop.build("FROM img\nRUN touch /var/y\n", tag="child")
    assert bound(workshop, tmp_path, "/var/lib/x", "child") == "of the host\n"
    assert workshop.run("ls -d /var/[ly]*", "child") == "/var/lib\n/var/y\n"


def test_a_short_configuration_makes_few_directories() -> None:
    assert volume_paths(["/", "//a//b/../c/", "../x", "n\0ul", "\udcff"]) == [b"a/c", b"x", b"\xff"]
    assert len(volume_paths(f"/{number}" for number in range(10**6))) == 1000
    assert volume_paths(["/x", "/a" * 2000]) == [b"x"]
