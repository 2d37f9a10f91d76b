"""``ch-run --host-mpi``: small libraries stand for the MPIs, and a program prints which it has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.stack import ImageStack
from tests.runtime.devices.driver import LIBRARIES, Driver, compile_loader, write_specification
from tests.runtime.fuse.conftest import make_squashfs
from tests.runtime.launcher.conftest import BUSYBOX, ENVIRONMENT, ChRun, messages
from tests.runtime.launcher.storages import add_image, make_storage
from tests.runtime.linker.machine import library, linker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MPI = """
#include <stdio.h>
const char *helper(void);
void version(void) { printf("%s mpi, %s\\n", WHOSE, helper()); }
"""
HELPER = 'const char *helper(void) { return WHOSE " helper"; }\n'
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
void version(void);
int main(void) {
  version();
  printf("%s\\n", getenv("FROM_PROFILE") ? getenv("FROM_PROFILE") : "");
  return 0;
}
"""
PLACE = "usr/lib/mpi"  # in the image; its configuration names it


def compiled(source: str, out: Path, *options: str | Path) -> Path:
    """Compile C; return the file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    (out.parent / "source.c").write_text(source)
    command = ["gcc", "-O0", "-o", out, out.parent / "source.c", *options]
    subprocess.run(command, check=True)
    (out.parent / "source.c").unlink()
    return out


def shared(source: str, out: Path, whose: str, *options: str | Path) -> Path:
    """Compile a library with the soname that its name begins with, and the link to it."""
    soname = re.sub(r"(\.so\.\d+).*", r"\1", out.name)
    compiled(
        source, out, "-shared", "-fPIC", f'-DWHOSE="{whose}"', f"-Wl,-soname,{soname}", *options
    )
    if soname != out.name:
        link = out.with_name(soname)
        link.unlink(missing_ok=True)
        link.symlink_to(out.name)
    return out


def make_mpi(place: Path, whose: str, *, mpi: str, helper: str) -> Path:
    """Make an MPI, and a library that it needs, in a directory; return the MPI."""
    needed = shared(HELPER, place / helper, whose)
    return shared(MPI, place / mpi, whose, needed, "-Wl,-rpath,$ORIGIN")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the MPIs of host and image, and an image that has its own."""
    top = tmp_path_factory.mktemp("made")
    host = make_mpi(top / "host", "host", mpi="libmpi.so.12.5.0", helper="libhelper.so.1.2.0")
    image = top / "image"
    own = make_mpi(image / PLACE, "image", mpi="libmpi.so.12.4.1", helper="libhelper.so.1.1.0")
    compiled(PROGRAM, image / "bin/program", own, f"-Wl,-rpath-link,{own.parent}")
    for path in (linker(), library("libc.so.6")):
        copy = image / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copy(BUSYBOX, image / "bin/busybox")
    for name in ("sh", "ls", "cat", "sleep"):
        (image / "bin" / name).symlink_to("busybox")
    for name in ("dev", "etc/ld.so.conf.d", "proc", "sys", "tmp"):
        (image / name).mkdir(parents=True)
    (image / "etc/ld.so.conf").write_text("include ld.so.conf.d/*.conf\n")
    (image / "etc/ld.so.conf.d/mpi.conf").write_text(f"# MPI\n/{PLACE}\n")
    for name in ("passwd", "group", "ld.so.cache"):
        (image / "etc" / name).touch()
    assert host.exists()
    return top


@pytest.fixture
def image(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the image."""
    return Path(shutil.copytree(made / "image", tmp_path / "image", symlinks=True))


@pytest.fixture
def host(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the host's MPI; the profile "site" names it."""
    place = Path(shutil.copytree(made / "host", tmp_path / "host", symlinks=True))
    write_profile(tmp_path, named(place))
    return place


def named(host: Path) -> str:
    """Return the line of a profile that names the host's MPI."""
    return f'libraries = ["{host}/libmpi.so.12"]'


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    place = make_storage(tmp_path / "storage")
    (place / "version").write_text("sundog 1\n")
    return place


@pytest.fixture
def usual() -> Iterator[Path]:
    """The directory of this user that is the usual storage of the $USER in its name."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", suffix=".sundog") as place:
        yield Path(place)


def write_profile(tmp_path: Path, *lines: str) -> None:
    directory = tmp_path / "profiles"
    directory.mkdir(exist_ok=True)
    (directory / "site.toml").write_text("\n".join(lines) + "\n")


def variables(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"CH_RUN_HOST_MPI_DIRS": f"{tmp_path}/profiles", **more}


def listing(path: Path) -> list[tuple[str, int, int]]:
    found = [path, *sorted(path.rglob("*"))]
    return [(str(p), p.lstat().st_mode, p.lstat().st_mtime_ns) for p in found]


OPTIONS = ((), ("-W",), ("-t", "-u0", "-g0"), ("--join",), ("--notify",), ("--seccomp", "-c/tmp"))


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_directory(
    ch_run: ChRun, image: Path, host: Path, tmp_path: Path, options: Sequence[str]
) -> None:
    before = listing(image)
    own = f"--set-env=LD_LIBRARY_PATH=/{PLACE}"
    assert ch_run(own, image, "--", "program").stdout == b"image mpi, image helper\n\n"
    words = ("--host-mpi=site", *options, image, "--", "program")
    done = ch_run(*words, env=variables(tmp_path))
    assert (done.stdout, done.stderr) == (b"host mpi, host helper\n\n", b"")
    assert listing(image) == before


def test_file(ch_run: ChRun, image: Path, host: Path, tmp_path: Path) -> None:
    make_squashfs(image, tmp_path / "image.sqfs")
    words = ("--host-mpi=site", tmp_path / "image.sqfs", "--", "program")
    done = ch_run(*words, env=variables(tmp_path))
    assert (done.stdout, done.stderr) == (b"host mpi, host helper\n\n", b"")


@pytest.mark.parametrize("tree", [b"", b"flat"])
@pytest.mark.usefixtures("host")
def test_name(ch_run: ChRun, made: Path, storage: Path, tmp_path: Path, tree: bytes) -> None:
    """With the MPI in another layer than the C library; also with the driver "copy"."""
    shutil.copytree(made / "image", storage / "layers/base/tree", symlinks=True)
    (storage / "layers/top/tree/usr/lib").mkdir(parents=True)
    shutil.move(storage / "layers/base/tree" / PLACE, storage / "layers/top/tree/usr/lib")
    if tree:
        shutil.copytree(made / "image", storage / "trees/flat", symlinks=True)
        (storage / "trees/flat/ch").mkdir()
    add_image(storage, "app", ImageStack([b"top", b"base"], tree, [b"program"], [], b"/"))
    for is_kept in (False, True):
        done = ch_run("-v", "--host-mpi=site", "app", env=variables(tmp_path))
        assert done.stdout == b"host mpi, host helper\n\n"
        assert ("host MPI: kept from an earlier start" in messages(done)) == is_kept


def test_processes_that_join_have_the_variables(
    installed: Path, image: Path, host: Path, tmp_path: Path
) -> None:
    lines = (
        'environment = { FROM_PROFILE = "$HOME: a b" }',
        named(host),
    )
    write_profile(tmp_path, *lines)
    environment = ENVIRONMENT | variables(tmp_path, CH_IMAGE_STORAGE=f"{tmp_path}/storage")

    def command(*options: str) -> list[str | Path]:
        return [installed, *options, "--join-tag=host-mpi", image, "--"]

    first = subprocess.Popen(
        [*command("--host-mpi=site"), "sh", "-c", "program; cat"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdin is not None
    assert first.stdout is not None
    with first:
        said = first.stdout.readline() + first.stdout.readline()
        second, third = [
            subprocess.run(
                [*command(*options), "program"], env=environment, capture_output=True, check=True
            )
            for options in (("--host-mpi=site",), ("--host-mpi=site", "--set-env=FROM_PROFILE=own"))
        ]
        first.stdin.close()
    assert said == second.stdout == b"host mpi, host helper\n/: a b\n"
    assert third.stdout.endswith(b"\nown\n")


def test_a_group_without_the_hosts_mpi(
    installed: Path, image: Path, host: Path, tmp_path: Path
) -> None:
    environment = ENVIRONMENT | variables(tmp_path, CH_IMAGE_STORAGE=f"{tmp_path}/storage")
    first = subprocess.Popen(
        [installed, "--join-tag=without", image, "--", "sh", "-c", "echo; cat"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdin is not None
    assert first.stdout is not None
    with first:
        first.stdout.readline()
        done = subprocess.run(
            [installed, "--host-mpi=site", "--join-tag=without", image, "--", "program"],
            env=environment,
            capture_output=True,
            check=False,
        )
        first.stdin.close()
    assert done.returncode == 31
    assert messages(done)[:2] == [
        "error: the group's container does not have the host's MPI",
        "hint: give --host-mpi to all processes of a group, or to none",
    ]


REFUSED = {
    "another ABI": (
        ("libmpi.so.40.40.7", "libhelper.so.1.1.0"),
        (),
        "the host's libmpi.so.12 (MPICH, Intel MPI, MVAPICH, Cray MPICH) does not fit",
    ),
    "strict": (
        ("libmpi.so.12.4.1", "libhelper.so.1.1.0"),
        ('compatibility = "strict"',),
        "the host's libmpi.so.12.5.0 and the image's libmpi.so.12.4.1: the minor versions differ",
    ),
    "no MPI": (
        ("libnompi.so.12.0.0", "libhelper.so.1.1.0"),
        (),
        "the image has no MPI that can be replaced: libmpi",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(ch_run: ChRun, image: Path, host: Path, tmp_path: Path, case: str) -> None:
    names, lines, message = REFUSED[case]
    shutil.rmtree(image / PLACE)
    make_mpi(image / PLACE, "image", mpi=names[0], helper=names[1])
    write_profile(tmp_path, named(host), *lines)
    done = ch_run("--host-mpi=site", image, "--", "program", env=variables(tmp_path))
    assert done.returncode == 31
    assert messages(done)[0].startswith(f"error: {message}")
    assert messages(done)[1].startswith("hint: ")


def test_older_host(ch_run: ChRun, image: Path, host: Path, tmp_path: Path) -> None:
    """A warning, unless the profile asks for the major number alone; the newer helper stays."""
    shutil.rmtree(image / PLACE)
    make_mpi(image / PLACE, "image", mpi="libmpi.so.12.7.0", helper="libhelper.so.1.3.0")
    words = ("-v", "--host-mpi=site", image, "--", "program")
    done = ch_run(*words, env=variables(tmp_path))
    assert done.stdout == b"host mpi, image helper\n\n"
    text = "the host's libmpi.so.12.5.0 and the image's libmpi.so.12.7.0: the host's is older"
    assert f"warning: {text}" in messages(done)
    assert "host MPI: the image's libhelper.so.1.3.0 stays: it is newer" in messages(done)
    write_profile(tmp_path, named(host), 'compatibility = "major"')
    assert text not in str(messages(ch_run(*words, env=variables(tmp_path))))


def test_dry_run(ch_run: ChRun, image: Path, host: Path, tmp_path: Path) -> None:
    """It prints what is shown in whose place, and changes nothing."""
    write_profile(
        tmp_path,
        named(host),
        f'dependencies = ["{host}/libextra.so.3"]',
        f'binds = ["{host}:/mnt/host:ro"]',
        'environment = { FROM_PROFILE = "x" }',
    )
    shared(HELPER, host / "libextra.so.3", "extra")
    before = listing(image)
    done = ch_run("--host-mpi=site", "--dry-run", image, "--", "program", env=variables(tmp_path))
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    for line in (
        f"mount a directory with {host}/libextra.so.3 at /.sundog (created, read-only)",
        f"bind {host} at /mnt/host (created, read-only)",
        f"bind {host}/libmpi.so.12 at /{PLACE}/libmpi.so.12 (required, read-only)",
        f"bind {host}/libhelper.so.1 at /{PLACE}/libhelper.so.1 (required, read-only)",
        "environment: variables of /.sundog/environment",
        "executing: program",
    ):
        assert line in lines, lines
    assert any(
        re.fullmatch(r"bind a file of \d{3,} bytes at /etc/ld.so.cache .*", x) for x in lines
    )
    assert listing(image) == before


def test_beside_the_images_libraries(
    ch_run: ChRun, image: Path, host: Path, tmp_path: Path
) -> None:
    """What the image lacks is in the linker's cache, and plug-ins of libfabric have a directory."""
    for path in (image / PLACE).glob("libhelper*"):
        path.unlink()
    shared(HELPER, host / "libfake-fi.so", "provider")
    write_profile(
        tmp_path,
        named(host),
        f'providers = ["{host}/libfake-fi.so"]',
    )
    script = "program; ls /.sundog/lib/providers; echo $FI_PROVIDER_PATH; echo x >/.sundog/lib/y"
    done = ch_run("--host-mpi=site", image, "--", "sh", "-c", script, env=variables(tmp_path))
    lines = ["host mpi, host helper", "", "libfake-fi.so", "/.sundog/lib/providers"]
    assert done.stdout.decode().splitlines() == lines
    assert b"Read-only file system" in done.stderr


def test_kept_until_something_changes(
    ch_run: ChRun, image: Path, host: Path, storage: Path, *, usual: Path, tmp_path: Path
) -> None:
    env = variables(tmp_path, USER=usual.stem)
    kept = "host MPI: kept from an earlier start"

    def start() -> tuple[bytes, bool]:
        done = ch_run("-v", "--host-mpi=site", image, "--", "program", env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout, kept in messages(done)

    same = b"host mpi, host helper\n\n"
    assert start() == (same, False)
    assert start() == (same, True)
    records = list((storage / "host-libraries").iterdir())
    assert [path.stat().st_mode & 0o7777 for path in records] == [0o600] * 2
    record = max(records, key=lambda path: path.stat().st_size)  # the other one is the profile
    # The host gets another MPI.
    make_mpi(host, "new", mpi="libmpi.so.12.6.0", helper="libhelper.so.1.2.0")
    assert start() == (b"new mpi, new helper\n\n", False)
    assert start()[1]
    # The image gets another library.
    (image / PLACE / "libother.so.2").touch()
    assert not start()[1]
    # The profile changes.
    write_profile(tmp_path, named(host), 'compatibility = "major"')
    assert not start()[1]
    # The record is damaged, or cannot be read.
    record = max((storage / "host-libraries").iterdir(), key=lambda path: path.stat().st_size)
    whole = record.read_bytes()
    for data in (whole[:-1], whole[:40] + b"\xff" * 40 + whole[80:], b""):
        record.write_bytes(data)
        assert start() == (b"new mpi, new helper\n\n", False)
    record.unlink()
    record.symlink_to("/etc/passwd")
    assert not start()[1]
    assert start()[1]
    # Other users could have written it; the user's usual storage takes its place, if it is one.
    storage.chmod(0o755)
    assert not start()[1]
    assert not start()[1]
    (usual / "version").write_text("sundog 1\n")
    assert not start()[1]
    assert start()[1]
    usual.chmod(0o755)
    assert not start()[1]


def test_few_records(ch_run: ChRun, image: Path, host: Path, storage: Path, tmp_path: Path) -> None:
    for number in range(70):
        (storage / "host-libraries").mkdir(exist_ok=True)
        (storage / "host-libraries" / str(number)).touch()
    ch_run("--host-mpi=site", image, "--", "program", env=variables(tmp_path))
    left = {path.name for path in (storage / "host-libraries").iterdir()}
    assert len(left) == 64
    assert not left.issuperset({"0", "1", "2"})


def test_write(ch_run: ChRun, image: Path, host: Path, tmp_path: Path) -> None:
    """A writable image gets no mount points that would stay."""
    before = listing(image)
    words = ("-w", "--host-mpi=site", image, "--", "program")
    done = ch_run(*words, env=variables(tmp_path))
    assert done.returncode == 31
    assert "/.sundog" in messages(done)[0]
    assert "-W" in messages(done)[1]
    assert listing(image) == before
    (image / ".sundog").mkdir()
    assert ch_run(*words, env=variables(tmp_path)).stdout == b"host mpi, host helper\n\n"


def hostile_link(image: Path, host: Path) -> None:
    """The image's MPI is a link to the host's."""
    for path in (image / PLACE).glob("libmpi*"):
        path.unlink()
    (image / PLACE / "libmpi.so.12").symlink_to("../" * 30 + str(host / "libmpi.so.12.5.0"))


def hostile_directory(image: Path, host: Path) -> None:
    """The directory of the image's MPI is a link to one of the host."""
    shutil.rmtree(image / PLACE)
    (image / PLACE).symlink_to("../" * 30 + str(host))


def hostile_fifo(image: Path, _host: Path) -> None:
    for path in (image / PLACE).glob("libmpi*"):
        path.unlink()
    os.mkfifo(image / PLACE / "libmpi.so.12")


def hostile_elf(image: Path, _host: Path) -> None:
    """Its headers lead beyond a file of a tebibyte."""
    path = image / PLACE / "libmpi.so.12.4.1"
    data = path.read_bytes()[:64].replace(b"\x40\0\0\0\0\0\0\0", b"\xff" * 7 + b"\x7f")
    path.write_bytes(data)
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize(
    "make", [hostile_link, hostile_directory, hostile_fifo, hostile_elf], ids=lambda f: f.__name__
)
def test_hostile_library(
    ch_run: ChRun,
    image: Path,
    host: Path,
    tmp_path: Path,
    make: Callable[[Path, Path], None],
) -> None:
    make(image, host)
    done = ch_run("--host-mpi=site", image, "--", "program", env=variables(tmp_path))
    assert done.returncode == 31
    assert messages(done)[0] == "error: the image has no MPI that can be replaced: libmpi"


def test_damaged_caches_and_configurations(
    ch_run: ChRun, image: Path, host: Path, tmp_path: Path
) -> None:
    """They do not matter: ``ch-run`` reads the directories, and adds to a sound cache only."""
    (image / "etc/ld.so.cache").write_bytes(b"glibc-ld.so.cache1.1" + b"\xff" * 4096)
    (image / "etc/ld.so.conf.d/many.conf").write_text("".join(f"/d{n}\n" for n in range(3000)))
    (image / "etc/ld.so.conf.d/aaa.conf").symlink_to("/dev/zero")
    done = ch_run("--host-mpi=site", image, "--", "program", env=variables(tmp_path))
    assert (done.stdout, done.stderr) == (b"host mpi, host helper\n\n", b"")


MISTAKES = {
    "nothing": ("", "libraries: the profile names no library of MPI"),
    "no TOML": ("libraries = [", "it is not TOML: "),
    "no field": ('librarys = ["/x"]', "there is no field librarys; did you mean libraries?"),
    "no list": ('libraries = "/x"', "libraries: write a list of strings"),
    "no path": ('libraries = ["x"]', "libraries: x is not an absolute path"),
    "no bind": ('libraries = ["/x"]\nbinds = ["/x:y"]', "binds: write /SRC, /SRC:/DST or"),
    "no level": ('libraries = ["/x"]\ncompatibility = "full!"', "compatibility: one of major, "),
    "no switch": ('libraries = ["/x"]\nhost_glibc = 1', "host_glibc: true or false"),
    "no table": ('libraries = ["/x"]\nenvironment = []', "environment: write a table of strings"),
    "a name": ('libraries = ["/x"]\nenvironment = {"a=b" = "c"}', "environment: a name must not"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_profiles(
    installed: Path, image: Path, tmp_path: Path, text: str, message: str
) -> None:
    write_profile(tmp_path, text)
    done = subprocess.run(
        [installed, "--host-mpi=site", image, "--", "true"],
        env=ENVIRONMENT | variables(tmp_path),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 31
    assert messages(done)[0].startswith(f"error: {tmp_path}/profiles/site.toml: {message}")


def test_profiles_of_user_and_site(ch_run: ChRun, image: Path, host: Path, tmp_path: Path) -> None:
    """The user's come first; without a name, the default counts; the host must have all."""
    own = tmp_path / "config/sundog/host-mpi.d"
    own.mkdir(parents=True)
    (own / "default.toml").write_text(named(host))
    (own / "lacking.toml").write_text(f'libraries = ["{host}/libnone.so.1"]\n')
    environment = {"XDG_CONFIG_HOME": f"{tmp_path}/config"}
    done = ch_run("--host-mpi", image, "--", "program", env=environment)
    assert done.stdout == b"host mpi, host helper\n\n"
    done = ch_run("--host-mpi=lacking", image, "--", "program", env=environment)
    assert messages(done)[0] == f"error: the host has no library {host}/libnone.so.1"
    done = ch_run("--host-mpi=none", image, "--", "program", env=environment)
    assert messages(done)[0] == "error: no profile of the host's MPI has the name none"
    assert messages(done)[1] == "hint: known: default lacking"
    # The configuration may name another default.
    file = tmp_path / "config/sundog/sundog.toml"
    for name, first in (
        ("lacking", f"the host has no library {host}/libnone.so.1"),
        (own / "no.toml", f"{file}: run.host_mpi: no such profile: {own}/no.toml"),
    ):
        file.write_text(f'[run]\nhost_mpi = "{name}"\n')
        done = ch_run("--host-mpi", image, "--", "program", env=environment)
        assert messages(done)[0] == f"error: {first}"
    done = ch_run("--host-mpi=default", image, "--", "program", env=environment)
    assert done.stdout == b"host mpi, host helper\n\n"
    file.unlink()
    (host / "libhelper.so.1").unlink()
    done = ch_run("--host-mpi", image, "--", "program", env=environment)
    assert messages(done)[0].startswith("error: the host has no library libhelper.so.1, which ")


def test_the_hosts_linker_decides_without_a_profile(
    ch_run: ChRun, image: Path, host: Path, tmp_path: Path
) -> None:
    """$LD_LIBRARY_PATH, which a module of the site sets, comes before the linker's directories."""
    environment = variables(tmp_path, LD_LIBRARY_PATH=str(host))
    done = ch_run("--host-mpi", image, "--", "program", env=environment)
    assert done.stdout == b"host mpi, host helper\n\n"


@pytest.mark.parametrize("options", [(), ("-W",)], ids=" ".join)
def test_with_devices(
    ch_run: ChRun, image: Path, host: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Both extend one cache of the linker."""
    driver = Driver(tmp_path / "driver")
    write_specification(tmp_path / "cdi/gpu.json", driver.edits("/usr/lib/gpu"))
    compile_loader(image / "bin/loader")
    words = (*options, f"--cdi-dirs={tmp_path}/cdi", "--device=nvidia.com/gpu=all")
    shell = f"program; loader {' '.join(LIBRARIES.values())}"
    for path in (image / PLACE).glob("libhelper*"):
        path.unlink()
    command = (*words, "--host-mpi=site", image, "--", "sh", "-c", shell)
    done = ch_run(*command, env=variables(tmp_path))
    found = [f"{soname}: host {name}" for name, soname in LIBRARIES.items()]
    assert done.stdout.decode().splitlines() == ["host mpi, host helper", "", *found], done.stderr


def test_host_glibc_alone(ch_run: ChRun, image: Path) -> None:
    done = ch_run("--host-glibc", image, "--", "program")
    assert done.returncode == 64
    assert messages(done)[0] == "error: --host-glibc needs --host-mpi"
