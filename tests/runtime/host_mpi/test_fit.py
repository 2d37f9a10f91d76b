"""Choice of the host's libraries that a container shows, for trees of small shared objects."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.errors import SundogError
from sundog.runtime.host_mpi.abi import FULL_FITS, MAJOR_FITS, STRICT_FITS, misfit, version_of
from sundog.runtime.host_mpi.fit import Fit, Fitting
from sundog.runtime.host_mpi.profile import HostProfile
from sundog.runtime.linker.search import LibrarySearch
from tests.runtime.linker.elf import AARCH64, elf

if TYPE_CHECKING:
    from pathlib import Path

Files = dict[str, bytes | str]  # text is the target of a symlink

GLIBC = ["GLIBC_2.2.5", "GLIBC_2.31"]
NEWER_GLIBC = [*GLIBC, "GLIBC_2.38"]
DIRECTORY = "usr/lib/x86_64-linux-gnu"


def tree(place: Path, files: Files) -> Path:
    """Make a root with libraries; text is the target of a symlink."""
    (place / DIRECTORY).mkdir(parents=True)
    for name, content in files.items():
        path = place / DIRECTORY / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    return place


def libc(versions: list[str]) -> Files:
    return {
        "libc.so.6": elf("libc.so.6", defined=versions),
        "libm.so.6": elf("libm.so.6", defined=versions),
        "ld-linux-x86-64.so.2": elf("ld-linux-x86-64.so.2", defined=["GLIBC_2.3"]),
    }


def mpi(*needed: str, wanted: str = "GLIBC_2.31", soname: str = "libmpi.so.12") -> bytes:
    needs = [*needed, "libc.so.6"]
    return elf(soname, needed=needs, wanted={"libc.so.6": [wanted]})


HOST: Files = {
    **libc(NEWER_GLIBC),
    "libmpi.so.12": "libmpi.so.12.5.0",
    "libmpi.so.12.5.0": mpi("libfabric.so.1"),
    "libfabric.so.1": "libfabric.so.1.20.0",
    "libfabric.so.1.20.0": elf("libfabric.so.1", needed=["libcxi.so.1"], defined=["FABRIC_1.0"]),
    "libcxi.so.1": elf("libcxi.so.1"),
    "libfabric/libcxi-fi.so": elf("libcxi-fi.so"),
}
IMAGE: Files = {
    **libc(GLIBC),
    "libmpi.so.12": "libmpi.so.12.4.1",
    "libmpi.so.12.4.1": mpi(),
    "libfabric.so.1": "libfabric.so.1.18.0",
    "libfabric.so.1.18.0": elf("libfabric.so.1", defined=["FABRIC_1.0"]),
}


def fitted(
    tmp_path: Path,
    host: Files,
    image: Files,
    *,
    host_glibc: bool = False,
) -> Fit:
    """Return the decision, with paths relative to the directory of the libraries."""
    roots = [
        os.open(tree(tmp_path / name, files), os.O_PATH | os.O_DIRECTORY)
        for name, files in (("host", host), ("image", image))
    ]
    searches = [LibrarySearch(root) for root in roots]
    fitting = Fitting(HostProfile(), *searches, host_glibc=host_glibc)
    try:
        fitting.decide([])
    finally:
        for root in roots:
            os.close(root)
    fit = fitting.fit
    place = f"/{DIRECTORY}/".encode()
    fit.covers = [
        (source.removeprefix(place), target.removeprefix(place)) for source, target in fit.covers
    ]
    fit.added = {name: source.removeprefix(place) for name, source in fit.added.items()}
    fit.plugins = [
        (source.removeprefix(place), target.removeprefix(place)) for source, target in fit.plugins
    ]
    return fit


def test_over_and_beside(tmp_path: Path) -> None:
    fit = fitted(tmp_path, HOST, IMAGE)
    assert sorted(fit.covers) == [
        (b"libfabric.so.1", b"libfabric.so.1"),
        (b"libmpi.so.12", b"libmpi.so.12"),
    ]
    assert fit.added == {b"libcxi.so.1": b"libcxi.so.1"}
    name = f"/{DIRECTORY}/libfabric.so.1".encode()
    assert (b"libfabric.so.1", name, 0x303) in fit.cached
    assert (b"libcxi.so.1", b"/.sundog/lib/libcxi.so.1", 0x303) in fit.cached
    assert (fit.plugins, fit.warnings) == ([], [])


def test_plugins_come_with_their_library(tmp_path: Path) -> None:
    own: Files = {"libfabric/libefa-fi.so": elf("libefa-fi.so")}
    fit = fitted(tmp_path, HOST, {**IMAGE, **own})
    assert fit.plugins == [(b"libfabric", b"libfabric")]


def test_plugins_of_another_version_are_hidden(tmp_path: Path) -> None:
    own: Files = {"libfabric/libefa-fi.so": elf("libefa-fi.so")}
    host: Files = {name: data for name, data in HOST.items() if "/" not in name}
    fit = fitted(tmp_path, host, {**IMAGE, **own})
    assert fit.plugins == [(b"", b"libfabric")]


def test_the_newer_dependency_stays(tmp_path: Path) -> None:
    newer: Files = {
        "libfabric.so.1": "libfabric.so.1.29.0",
        "libfabric.so.1.29.0": elf("libfabric.so.1", defined=["FABRIC_1.0", "FABRIC_1.8"]),
    }
    fit = fitted(tmp_path, HOST, {**IMAGE, **newer})
    assert fit.covers == [(b"libmpi.so.12", b"libmpi.so.12")]
    assert fit.notes == ["host MPI: the image's libfabric.so.1.29.0 stays: it is newer"]


def test_a_newer_number_without_the_versions_does_not_stay(tmp_path: Path) -> None:
    newer: Files = {
        "libfabric.so.1": "libfabric.so.1.29.0",
        "libfabric.so.1.29.0": elf("libfabric.so.1"),
    }
    fit = fitted(tmp_path, HOST, {**IMAGE, **newer})
    assert (b"libfabric.so.1", b"libfabric.so.1") in fit.covers


def test_another_name_of_the_abi(tmp_path: Path) -> None:
    """Debian's MPICH has another soname, which programs may ask for, too."""
    host: Files = {**HOST, "libmpi.so.12.5.0": mpi(soname="libmpich.so.12")}
    fit = fitted(tmp_path, host, IMAGE)
    assert fit.covers == [(b"libmpi.so.12", b"libmpi.so.12")]
    assert fit.added == {b"libmpi.so.12": b"libmpi.so.12", b"libmpich.so.12": b"libmpi.so.12"}
    cached = {name for name, path, _ in fit.cached if path.startswith(b"/.sundog/lib/")}
    assert cached == {b"libmpi.so.12", b"libmpich.so.12"}


def test_the_abi_that_the_image_has(tmp_path: Path) -> None:
    """Of two MPIs of the host, the one that fits."""
    other: Files = {
        "libmpi.so.40": "libmpi.so.40.40.7",
        "libmpi.so.40.40.7": mpi(soname="libmpi.so.40"),
    }
    fit = fitted(tmp_path, {**HOST, **other}, IMAGE)
    assert (b"libmpi.so.12", b"libmpi.so.12") in fit.covers
    assert b"libmpi.so.40" not in fit.added


NEWER: Files = {
    **HOST,
    "libmpi.so.12.5.0": mpi("libfabric.so.1", wanted="GLIBC_2.38"),
}


def test_a_newer_c_library_is_needed(tmp_path: Path) -> None:
    text = "the host's libmpi.so.12.5.0 needs GLIBC_2.38 of libc.so.6; the image has 2.31"
    with pytest.raises(SundogError, match=text) as error:
        fitted(tmp_path, NEWER, IMAGE)
    assert "--host-glibc" in error.value.hint


def test_the_hosts_c_library(tmp_path: Path) -> None:
    """All of its parts, if it is newer."""
    fit = fitted(tmp_path, NEWER, IMAGE, host_glibc=True)
    parts = {source for source, target in fit.covers if source == target}
    assert parts >= {b"libc.so.6", b"libm.so.6", b"ld-linux-x86-64.so.2"}
    assert "host MPI: glibc 2.38 in place of the image's 2.31" in fit.notes


@pytest.mark.parametrize("versions", [NEWER_GLIBC, [*NEWER_GLIBC, "GLIBC_2.40"]])
def test_a_c_library_that_is_not_newer(tmp_path: Path, versions: list[str]) -> None:
    fit = fitted(tmp_path, NEWER, {**IMAGE, **libc(versions)}, host_glibc=True)
    assert b"libc.so.6" not in dict(fit.covers)


def test_another_machine(tmp_path: Path) -> None:
    own: Files = {"libc.so.6": elf("libc.so.6", defined=NEWER_GLIBC, machine=AARCH64)}
    with pytest.raises(SundogError, match="for another machine than the image"):
        fitted(tmp_path, HOST, {**IMAGE, **own})


def test_a_host_without_mpi(tmp_path: Path) -> None:
    with pytest.raises(SundogError, match="the host's linker finds no MPI"):
        fitted(tmp_path, libc(GLIBC), IMAGE)


VERSIONS = {
    b"libmpi.so.12.4.1": (12, 4, 1),
    b"libmpi.so.12": (12,),
    b"libmpi.so": (),
    b"libx-1.2.so": (),
    b"libx.so.1.x.2": (1,),
    b"libx.so.%d" % 10**20: (),
}


def test_versions() -> None:
    assert {name: version_of(name) for name in VERSIONS} == VERSIONS


@pytest.mark.parametrize(
    ("host", "image", "level", "refused", "reason"),
    [
        ((12, 5), (12, 4), FULL_FITS, False, ""),
        ((12, 4), (12, 5), FULL_FITS, False, "the host's is older"),
        ((12, 4), (12, 5), MAJOR_FITS, False, ""),
        ((12, 4), (12, 5), STRICT_FITS, True, "the host's is older"),
        ((12, 5), (12, 4), STRICT_FITS, True, "the minor versions differ"),
        ((12, 5, 1), (12, 5, 0), STRICT_FITS, False, ""),
        ((12,), (12, 5), STRICT_FITS, True, "the minor versions are not known"),
        ((12,), (12, 5), FULL_FITS, False, ""),
    ],
)
def test_levels(
    host: tuple[int, ...], image: tuple[int, ...], level: str, refused: bool, reason: str
) -> None:
    assert misfit(host, image, level) == (refused, reason)


def test_musl_by_the_name_of_glibc(tmp_path: Path) -> None:
    """Alpine's libc6-compat has such a link."""
    musl: Files = {**IMAGE, "libc.so.6": elf("libc.musl-x86_64.so.1")}
    with pytest.raises(SundogError, match="the image has no glibc"):
        fitted(tmp_path, HOST, musl)
