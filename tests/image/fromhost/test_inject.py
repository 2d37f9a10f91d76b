"""``ch-fromhost`` puts the named files where they belong, and the image's programs find them."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Runner, command, run_program

from .conftest import LONG_NAME, NAME, Host, Image, cache_lines, copy_of, entries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REFERENCE = "/usr/bin/ch-fromhost"


def test_a_program_of_the_image_finds_the_library(host: Host, image: Image) -> None:
    assert not image.works()
    done = image.inject("--path", host.library)
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert image.works()
    assert (image.path / "usr/local/lib" / LONG_NAME).read_bytes() == host.library.read_bytes()
    assert os.readlink(image.path / "usr/local/lib" / NAME) == LONG_NAME
    assert not (image.path / "ch").exists()


def test_without_ldconfig_the_linker_does_not_know_it(host: Host, image: Image) -> None:
    image.inject("--no-ldconfig", "-p", host.library)
    assert (image.path / "usr/local/lib" / LONG_NAME).exists()
    assert not (image.path / "usr/local/lib" / NAME).exists()
    assert not (image.path / "etc/ld.so.cache").exists()


def test_places_are_inferred(host: Host, image: Image, tmp_path: Path) -> None:
    tool = tmp_path / "sbin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho injected\n")
    tool.chmod(0o4755)
    os.utime(tool, (1000, 1000))
    done = image.inject("-v", "-p", tool, "--path", host.library)
    assert f"{tool} -> /usr/bin/tool\n" in done.stderr
    assert f"{host.library} -> /usr/local/lib/{LONG_NAME}\n" in done.stderr
    assert image.run("/usr/bin/tool").stdout == "injected\n"
    status = (image.path / "usr/bin/tool").stat()
    assert stat.S_IMODE(status.st_mode) == 0o755  # it would be set-id for another user
    assert status.st_mtime == 1000


def test_dest_counts_for_later_files(image: Image, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(name)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    image.inject("-d", "/opt", "-p", one, "--dest=/mnt", "-p", two, f"--path={three}")
    assert {path.name for path in (image.path / "opt").iterdir()} == {"one"}
    assert {path.name for path in (image.path / "mnt").iterdir()} == {"two", "three"}


def test_lists(image: Image, tmp_path: Path) -> None:
    for name in ("one", "two", "a blank:colon"):
        (tmp_path / name).write_text(name)
    (tmp_path / "list").write_text(f"{tmp_path}/one\n\n{tmp_path}/a blank:colon\n")
    image.inject("-d", "/mnt", "-f", tmp_path / "list", "-c", f"echo {tmp_path}/two")
    found = {path.name for path in (image.path / "mnt").iterdir()}
    assert found == {"one", "two", "a blank:colon"}


def test_symlinks_of_the_host_are_followed(host: Host, image: Image, tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(host.library)
    image.inject("-d", "/usr/local/lib", "-p", tmp_path / NAME)
    assert not (image.path / "usr/local/lib" / NAME).is_symlink()
    assert image.works()


def test_a_symlink_in_the_image_is_replaced_and_its_target_stays(host: Host, image: Image) -> None:
    library = image.path / "usr/local/lib"
    (library / "libshine.so.1.0").write_text("older")
    (library / LONG_NAME).symlink_to("libshine.so.1.0")
    image.inject("-p", host.library)
    assert (library / "libshine.so.1.0").read_text() == "older"
    assert not (library / LONG_NAME).is_symlink()
    assert image.works()


def test_modes_of_the_image_are_no_obstacle_and_stay(host: Host, image: Image) -> None:
    library = image.path / "usr/local/lib"
    library.chmod(0o555)
    image.inject("-p", host.library)
    assert stat.S_IMODE(library.stat().st_mode) == 0o555
    assert image.works()


@pytest.mark.parametrize("option", ["--print-lib", "--lib-path"])
def test_print_the_directory_of_libraries(image: Image, option: str) -> None:
    before = image.content()
    assert image.inject(option).stdout == "/usr/local/lib\n"
    assert image.content() == before


def stand_in(directory: Path, name: str, script: str) -> dict[str, str]:
    """Put a script in the place of a program of the host; return the environment for it."""
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def test_nvidia(host: Host, image: Image, tmp_path: Path) -> None:
    script = f'test "$*" = "list --binaries --libraries" && echo {host.library}'
    image.inject("--nvidia", env=stand_in(tmp_path / "programs", "nvidia-container-cli", script))
    assert image.works()


@pytest.mark.parametrize("script", ["exit 1", None])
def test_nvidia_on_a_host_without(image: Image, tmp_path: Path, script: str | None) -> None:
    env = stand_in(tmp_path / "programs", "nvidia-container-cli", script) if script else {}
    before = image.content()
    done = image.inject("--nvidia", check=False, env=env)
    assert done.returncode == 1
    assert "error: nvidia-container-cli failed; does this host have GPUs?" in done.stderr
    assert image.content() == before


def fabric(host: Host, image: Image) -> Path:
    """Put a libfabric into the image; return where."""
    place = image.path / "usr/lib/fabric"
    place.mkdir()
    shutil.copy(host.library, place / "libfabric.so.1.0")
    (place / "libfabric.so.1").symlink_to("libfabric.so.1.0")
    # A library's soname decides what ldconfig calls it.
    program = ["cc", "-shared", "-fPIC", "-Wl,-soname,libfabric.so.1", "-o"]
    run_program([*program, place / "libfabric.so.1.0", host.path / "lib.c"])
    with (image.path / "etc/ld.so.conf").open("a") as file:
        file.write("/usr/lib/fabric\ninclude /etc/ld.so.conf.d/*.conf\n")
    (image.path / "etc/ld.so.conf.d").mkdir()
    return place


def test_a_provider_of_libfabric(host: Host, image: Image, tmp_path: Path) -> None:
    place = fabric(host, image)
    assert image.inject("--print-fi").stdout == "/usr/lib/fabric/libfabric\n"
    assert image.inject("--print-cray-fi").stdout == "/usr/lib/fabric\n"
    needed = tmp_path / "cray" / "libcray.so.1"
    needed.parent.mkdir()
    make = ["cc", "-shared", "-fPIC", "-o"]
    run_program([*make, needed, "-Wl,-soname,libcray.so.1", host.path / "lib.c"])
    provider = tmp_path / "libgnix-fi.so"
    link = [f"-Wl,-rpath,{needed.parent}", "-Wl,--no-as-needed"]
    run_program([*make, provider, *link, host.path / "main.c", needed])
    image.inject("--cray-gni", env={"CH_FROMHOST_OFI_GNI": str(provider)})
    assert (place / "libfabric" / provider.name).read_bytes() == provider.read_bytes()
    configured = (image.path / "etc/ld.so.conf.d/ch-ofi.conf").read_text().splitlines()
    assert str(needed.parent) in configured


def test_the_host_s_libfabric_replaces_the_image_s(
    host: Host, image: Image, tmp_path: Path
) -> None:
    place = fabric(host, image)
    cxi = tmp_path / "libcxi.so.1"
    make = ["cc", "-shared", "-fPIC", "-o"]
    run_program([*make, cxi, "-Wl,-soname,libcxi.so.1", host.path / "lib.c"])
    new = tmp_path / "libfabric.so"
    link = ["-Wl,-soname,libfabric.so.1", f"-Wl,-rpath,{tmp_path}", "-Wl,--no-as-needed"]
    run_program([*make, new, *link, host.path / "lib.c", cxi])
    image.inject("--cray-cxi", env={"CH_FROMHOST_OFI_CXI": str(new)})
    assert (place / "libfabric.so.1.0").read_bytes() == new.read_bytes()
    assert os.readlink(place / "libfabric.so.1") == "libfabric.so.1.0"
    assert (image.path / "usr/local/lib/libcxi.so.1").read_bytes() == cxi.read_bytes()


BEFORE = {"FI_PROVIDER_PATH": "/x"}
MISTAKES: list[tuple[Sequence[str], dict[str, str], str]] = [
    (["-p", "/etc/nope"], {}, "cannot read file: /etc/nope: No such file or directory"),
    (["-p", "/etc/lib"], {}, "cannot read file: /etc/lib: No such file or directory"),
    (["-d", "/mnt", "-p", "/etc"], {}, "cannot inject: /etc: not a regular file"),
    (["-p", "/etc/passwd"], {}, "no destination for: /etc/passwd"),
    (["-d", "mnt", "-p", "/etc/passwd"], {}, "not an absolute path: mnt"),
    (["-d", "/nope", "-p", "/etc/passwd"], {}, "not a directory: /nope in the image"),
    (["-d", "/etc/passwd", "-p", "/etc/passwd"], {}, "not a directory: /etc/passwd in the image"),
    (["-d", "", "-p", "/etc/passwd"], {}, "--dest must not be empty"),
    (["-p", "/etc/passwd", "-d", "/mnt"], {}, "--dest /mnt: no file is named after it"),
    (["-p", ""], {}, "--path must not be empty"),
    (["-f", ""], {}, "--file must not be empty"),
    (["-c", ""], {}, "--cmd must not be empty"),
    (["-f", "/nope"], {}, "cannot read file: /nope: No such file or directory"),
    (["-c", "false"], {}, "command failed: false: exit status 1"),
    (["-c", "nope-nope"], {}, "command failed: nope-nope: No such file or directory"),
    (["-c", "true"], {}, "empty file list"),
    ([], {}, "empty file list"),
    (["--cray-gni"], {}, "--cray-gni: $CH_FROMHOST_OFI_GNI is not set"),
    (["--cray-cxi"], {}, "--cray-cxi: $CH_FROMHOST_OFI_CXI is not set"),
    (["--print-cray-fi"], {}, "libfabric.so not found in the image"),
    (["--print-fi"], BEFORE, "FI_PROVIDER_PATH is set"),
    (["/mnt"], {}, "duplicate image: "),
    (["--nope"], {}, "unrecognized arguments: --nope"),
]


@pytest.mark.parametrize(("words", "env", "message"), MISTAKES, ids=[m for _, _, m in MISTAKES])
def test_mistakes(image: Image, words: Sequence[str], env: dict[str, str], message: str) -> None:
    before = image.content()
    done = image.inject(*words, check=False, env=env)
    assert done.returncode == 1
    assert done.stdout == ""
    first, *others = done.stderr.splitlines()
    assert first.startswith(f"error: {message}")
    assert all(line.startswith("hint: ") for line in others)
    assert image.content() == before


def test_all_or_nothing(host: Host, image: Image) -> None:
    """The last file of the list is a directory in the image."""
    (image.path / "mnt/passwd").mkdir()
    before = image.content()
    done = image.inject("-p", host.library, "-d", "/mnt", "-p", "/etc/passwd", check=False)
    assert done.returncode == 1
    assert done.stderr == "error: cannot inject: /mnt/passwd is a directory in the image\n"
    assert image.content() == before


def test_an_image_in_a_project_s_directory(host: Host, project: Path) -> None:
    """Its files have a group that the user namespace does not know."""
    image = copy_of(host.template, project / "image")
    group = project.stat().st_gid
    assert (image.path / "usr/local/lib").stat().st_gid == group
    image.inject("-p", host.library)
    assert image.works()
    assert (image.path / "usr/local/lib").stat().st_gid == group


def test_an_image_of_another_user(host: Host) -> None:
    assert os.geteuid() != 0
    words = [*command("ch-fromhost"), "-d", "/bin", "-p", str(host.library), "/usr"]
    done = run_program(words, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: cannot inject: no directory in /usr: Permission denied",
        "hint: the image must belong to you, and its /ch must be a directory",
    ]


def test_an_image_without_ldconfig(host: Host, image: Image) -> None:
    """No program of the image is needed."""
    (image.path / "sbin/ldconfig").unlink()
    image.inject("-p", host.library)
    assert image.works()


def test_an_image_without_a_linker(host: Host, image: Image) -> None:
    shutil.rmtree(image.path / "lib64")
    shutil.rmtree(image.path / "lib")
    before = image.content()
    done = image.inject("-p", host.library, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the image has no dynamic linker\n"
        "hint: name the directory by --dest, and leave out the linker's cache by --no-ldconfig\n"
    )
    assert image.content() == before
    image.inject("--no-ldconfig", "-d", "/mnt", "-p", host.library)
    assert (image.path / "mnt" / LONG_NAME).exists()


def test_what_is_no_directory_of_an_image(
    host: Host, run_ch_image: Runner, storage: Path, tmp_path: Path
) -> None:
    run_ch_image("import", host.template, "tiny")
    (tmp_path / "tiny.sqfs").write_bytes(b"hsqs")
    (tmp_path / "empty").mkdir()
    env = {"CH_IMAGE_STORAGE": str(storage)}
    stored = next(storage.glob("layers/*/tree"))
    for operand, error, hint in (
        ("tiny", "image not a directory: tiny", "ch-convert tiny ./DIR"),
        (
            tmp_path / "tiny.sqfs",
            "image not a directory: ",
            f"ch-convert {tmp_path}/tiny.sqfs ./DIR",
        ),
        (tmp_path / "empty", "not the directory of an image: ", ""),
        (stored, "an image in storage is never changed: ", "ch-convert NAME ./DIR"),
        ("nope", "image not a directory: nope", "ch-convert IMAGE ./DIR"),
        ("/no/such", "image not a directory: /no/such", "there is no /no/such"),
    ):
        words = [*command("ch-fromhost"), "-p", host.library, operand]
        done = run_program(words, check=False, env=env)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {error}")
        assert hint in done.stderr


def test_without_arguments_it_tells_its_usage() -> None:
    done = run_program(command("ch-fromhost"), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("usage: ch-fromhost [OPTION...] FILE_OPTION... IMGDIR\n")


LIKE = [
    ["-p", "{library}"],
    ["-p", "{library}", "-d", "/mnt", "-p", "/etc/passwd"],
    ["-d", "/opt", "-p", "{library}"],
    ["-f", "{list}"],
    ["-c", "cat {list}"],
    ["--no-ldconfig", "-p", "{library}"],
]


@pytest.mark.parametrize("words", LIKE, ids=" ".join)
def test_like_charliecloud_s(host: Host, tmp_path: Path, words: Sequence[str]) -> None:
    """Both programs leave the same image.

    Charliecloud's one runs ldconfig, whose cache names the program, and which keeps notes.
    """
    if not os.path.exists(REFERENCE):
        pytest.fail("no package charliecloud-runtime")
    (tmp_path / "list").write_text(f"{host.library}\n")
    words = [word.format(library=host.library, list=tmp_path / "list") for word in words]
    images = [copy_of(host.template, tmp_path / name) for name in ("ours", "theirs")]
    ours = run_program([*command("ch-fromhost"), *words, images[0].path], check=False)
    theirs = run_program([REFERENCE, *words, images[1].path], check=False, env={"USER": "x"})
    assert ours.returncode == theirs.returncode == 0, theirs.stderr
    contents = [dict(entries(image.path)) for image in images]
    for content in contents:
        for path in ("var", "var/cache", "var/cache/ldconfig", "var/cache/ldconfig/aux-cache"):
            content.pop(path, None)
    caches = [image.path / "etc/ld.so.cache" for image in images]
    if caches[1].exists():
        assert cache_lines(caches[0]) == cache_lines(caches[1])
        assert caches[0].stat().st_mode == caches[1].stat().st_mode
        for content in contents:
            del content["etc/ld.so.cache"]
    assert contents[0] == contents[1]
    assert images[0].works() == images[1].works()
