"""The linker cache of an image: made by its ldconfig or the host's, which runs confined."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.container.child import Child
from sundog.container.enter import enter_namespaces
from sundog.container.missing_points import add_missing_points
from sundog.container.operations import CREATED, Bind
from sundog.container.plan import Plan
from sundog.container.root import DirectoryRoot
from sundog.errors import SundogError
from sundog.linker import ldconfig

if TYPE_CHECKING:
    from sundog.container.operations import Operation

LDCONFIG = Path("/sbin/ldconfig")
FOLDER = "/host/lib"


def linker() -> Path:
    """Return the path of this machine's dynamic linker."""
    text = subprocess.run(["readelf", "-l", "/bin/sh"], capture_output=True, text=True, check=True)
    found = re.search(r"interpreter: (\S+?)\]", text.stdout)
    assert found
    return Path(found[1])


def library(name: str) -> Path:
    """Return the path of a library of this machine, as its linker finds it."""
    text = subprocess.run([LDCONFIG, "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s{re.escape(name)} \(.*=> (.*)$", text, re.MULTILINE)
    assert found
    return Path(found[1])


@pytest.fixture
def glibc(tmp_path: Path) -> Path:
    """Return an image with this machine's linker, C library and ldconfig."""
    image = tmp_path / "image"
    for path in (linker(), library("libc.so.6"), LDCONFIG):
        place = image / path.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    for name in ("dev", "etc"):
        (image / name).mkdir()
    return image


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """Return a directory of the host with a library."""
    place = tmp_path / "shown"
    place.mkdir()
    shutil.copy(library("libm.so.6"), place / "libm.so.6")
    return place


def script(image: Path, text: str) -> None:
    """Make a shell script the image's ldconfig."""
    shutil.copy("/bin/sh", image / "sh")
    program = image / "sbin/ldconfig"
    program.parent.mkdir(exist_ok=True)
    program.unlink(missing_ok=True)
    program.write_text(f"#!/sh\n{text}\n")
    program.chmod(0o755)


def made(image: Path, *binds: tuple[Path, str], uid: int = 1234) -> bytes | None:
    """Return what ``make_linker_cache`` returns for an image that shows ``binds``."""

    def inside(_tie: object) -> bytes | None:
        enter_namespaces(uid, uid)
        operations: list[Operation] = [
            Bind(os.fsencode(source), place.encode(), CREATED, writable=False)
            for source, place in binds
        ]
        root = DirectoryRoot(os.fsencode(image))
        plan = Plan(root, [*operations])
        directory, attached = plan.mount(print)
        add_missing_points(root, directory, plan.scratch, attached, print)
        return ldconfig.make_linker_cache(operations, [FOLDER.encode()])

    result = Child(inside).result()
    assert result is None or isinstance(result, bytes)
    return result


def listed(cache: bytes | None, tmp_path: Path) -> list[tuple[str, str]]:
    """Return the names and paths in a cache, as ``ldconfig -p`` reads it."""
    assert cache is not None
    (tmp_path / "cache").write_bytes(cache)
    command = [str(LDCONFIG), "-p", "-C", str(tmp_path / "cache")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(r"^\s(\S+) \(.*=> (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("uid", [0, 1234])
@pytest.mark.parametrize("own", [True, False])
def test_cache(glibc: Path, shown: Path, tmp_path: Path, own: bool, uid: int) -> None:
    """The folders come first, and nothing in the image changes."""
    if not own:
        (glibc / "sbin/ldconfig").unlink()
    shutil.copy(library("libm.so.6"), glibc / library("libc.so.6").relative_to("/").parent)
    before = sorted(glibc.rglob("*"))
    found = listed(made(glibc, (shown, FOLDER), uid=uid), tmp_path)
    places = [path for name, path in found if name == "libm.so.6"]
    assert places[0] == f"{FOLDER}/libm.so.6"
    assert len(places) == 2
    assert "libc.so.6" in [name for name, _ in found]
    assert sorted(glibc.rglob("*")) == before


def test_configuration_of_the_image_counts(glibc: Path, shown: Path, tmp_path: Path) -> None:
    (glibc / "opt/lib").mkdir(parents=True)
    shutil.copy(library("libdl.so.2"), glibc / "opt/lib")
    (glibc / "etc/ld.so.conf").write_text("/opt/lib\n")
    found = listed(made(glibc, (shown, FOLDER)), tmp_path)
    assert ("libdl.so.2", "/opt/lib/libdl.so.2") in found


def test_a_damaged_cache_in_the_image_is_of_no_interest(
    glibc: Path, shown: Path, tmp_path: Path
) -> None:
    (glibc / "etc/ld.so.cache").write_bytes(os.urandom(4096))
    assert ("libm.so.6", f"{FOLDER}/libm.so.6") in listed(made(glibc, (shown, FOLDER)), tmp_path)


def test_musl_has_no_cache(glibc: Path) -> None:
    (glibc / "lib").mkdir(exist_ok=True)
    (glibc / "lib/ld-musl-x86_64.so.1").touch()
    assert made(glibc) is None


def test_an_image_without_a_linker_has_no_cache(tmp_path: Path) -> None:
    (tmp_path / "image/dev").mkdir(parents=True)
    assert made(tmp_path / "image") is None


def test_links_of_the_image_lead_to_nothing_of_the_host(
    glibc: Path, shown: Path, tmp_path: Path
) -> None:
    """Not in the search for the linker, and not for ldconfig."""
    (tmp_path / "host").mkdir()
    shutil.copy(library("libdl.so.2"), tmp_path / "host/libhost.so.2")
    (glibc / "etc/ld.so.conf").symlink_to("/../../../../../../../../" + str(tmp_path / "conf"))
    (tmp_path / "conf").write_text(f"{tmp_path}/host\n")
    (glibc / "usr/lib").mkdir(parents=True, exist_ok=True)
    (glibc / "usr/lib/out").symlink_to("../" * 20 + str(tmp_path / "host"))
    cache = made(glibc, (shown, FOLDER))
    assert "libdl.so.2" not in dict(listed(cache, tmp_path))


WAITING = {
    "an endless program": "while :; do :; done",
    "an endless cache": f"x=xxxxxxxxxxxxxxxx; {'x=$x$x; ' * 12} exec >/dev/ld.so.cache\n"
    "while :; do echo $x; done",
    "endless output": "while :; do echo $$; echo xxxxxxxxxxxxxxxxxxxxxxxxxxxx >&2; done",
}


@pytest.mark.parametrize("text", WAITING.values(), ids=WAITING)
def test_a_program_that_does_not_end(
    glibc: Path, shown: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ldconfig, "LDCONFIG_SECONDS", 1)
    monkeypatch.setattr(ldconfig, "HOST_PROGRAMS", ())
    script(glibc, text)
    with pytest.raises(SundogError, match="/sbin/ldconfig takes more than 1 seconds"):
        made(glibc, (shown, FOLDER))


def test_what_the_program_of_the_image_can_do(glibc: Path, shown: Path, tmp_path: Path) -> None:
    """It can fork nothing, write nothing, and has no descriptor and no file of the host."""
    lines = (
        "exec >/dev/ld.so.cache 2>&1",
        "echo glibc-ld.so.cache1.1",
        "for n in 3 4 5 6 7 8 9; do { echo open >&$n; } && echo open $n; done",
        "{ echo x >/etc/made; } && echo wrote",
        f"test -e {tmp_path} && echo host",
        "echo /* $#",
        "(echo forked)",
        "echo still there",
    )
    script(glibc, "\n".join(lines))
    said = made(glibc, (shown, FOLDER))
    assert said is not None
    names = " ".join(sorted(f"/{path.name}" for path in glibc.iterdir()))
    assert f"{names.replace('/etc', '/etc /host')} 5\n" in said.decode()
    assert b"fork" in said.splitlines()[-1]
    assert b"forked" not in said
    assert b"wrote" not in said
    assert b"open " not in said
    assert b"host\n" not in said


NO_CACHE = {
    "nonsense": "echo nonsense >/dev/ld.so.cache",
    "nothing": "exit 3",
}


@pytest.mark.parametrize("text", NO_CACHE.values(), ids=NO_CACHE)
def test_the_program_of_the_host_follows(
    glibc: Path, shown: Path, tmp_path: Path, text: str
) -> None:
    script(glibc, text)
    found = listed(made(glibc, (shown, FOLDER)), tmp_path)
    assert ("libm.so.6", f"{FOLDER}/libm.so.6") in found


def test_neither_has_a_program(glibc: Path, shown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (glibc / "sbin/ldconfig").unlink()
    monkeypatch.setattr(ldconfig, "HOST_PROGRAMS", (b"/bin/sh",))  # it is linked dynamically
    with pytest.raises(SundogError, match="the image has no ldconfig, and the host has none") as e:
        made(glibc, (shown, FOLDER))
    assert "linked statically" in e.value.hint
