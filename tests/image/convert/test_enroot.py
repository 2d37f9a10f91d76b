"""``ch-convert -o enroot``: the files from which Enroot takes an image's configuration."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from sundog.image.convert.enroot_files import enroot_files
from sundog.image.oci.config import ImageConfig
from tests.conftest import Completed, command, run_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

Convert = Callable[..., Completed]

DOCKERFILE = r"""
FROM bb
RUN mkdir /etc/rc.d && echo '/ /host none bind' >/etc/fstab && echo 'exit 9' >/etc/rc.local
ENV QUOTED="\"a\" 'b'" REFERENCE='$HOME `id`'
WORKDIR "/a 'b'"
VOLUME ["/data", "/with blank", "/${HOME}"]
"""
EXPECTED = {
    "etc/environment": 'QUOTED=""a" \'b\'"\nREFERENCE="$HOME `id`"\n',
    "etc/fstab": (
        "${ENROOT_ROOTFS}/data /data none x-create=dir,bind,rw,nosuid,nodev\n"
        "${ENROOT_ROOTFS}/with\\040blank /with\\040blank none x-create=dir,bind,rw,nosuid,nodev\n"
    ),
    "etc/rc.local": "",
}


@pytest.fixture
def convert(storage: Path) -> Convert:
    def run(*words: str | Path, check: bool = True) -> Completed:
        argv = [*command("ch-convert"), *map(str, words)]
        return run_program(argv, env={"CH_IMAGE_STORAGE": str(storage)}, check=check)

    return run


def content(image: Path, path: str) -> str:
    return subprocess.run(
        ["unsquashfs", "-cat", image, path], capture_output=True, text=True, check=True
    ).stdout


def test_the_files(
    run_ch_image: Runner, run_ch_run: Runner, convert: Convert, bb: str, tmp_path: Path
) -> None:
    endings = {
        'CMD ["sh", "-c", "echo $0 $PWD", "it\'s"]': ("it's /a 'b'", "given /a 'b'"),
        'ENTRYPOINT ["echo", "entry \\"$0\\""]': (
            'entry "$0"',
            'entry "$0" sh -c echo $0 $PWD given',
        ),
        'ENTRYPOINT ["echo", "entry"]\nCMD ["more"]': (
            "entry more",
            "entry sh -c echo $0 $PWD given",
        ),
    }
    for ending, (alone, with_words) in endings.items():
        (tmp_path / "Dockerfile").write_text(DOCKERFILE + ending + "\n")
        run_ch_image("build", "-t", "configured", tmp_path)
        image = tmp_path / "image.sqsh"
        convert("-o", "enroot", "configured", image)
        for name, expected in EXPECTED.items():
            assert content(image, name) == expected
        # The same image runs, and Enroot's start of it, as Enroot does it.
        start = (image, "--", "sh", "/etc/rc")
        assert run_ch_run(*start).stdout == alone + "\n"
        words = ("sh", "-c", "echo $0 $PWD", "given")
        assert run_ch_run(*start, *words).stdout == with_words + "\n"


def test_an_image_without_commands(
    run_ch_run: Runner, convert: Convert, bb: str, tmp_path: Path
) -> None:
    image = tmp_path / "image.sqsh"
    convert("-o", "enroot", bb, image)
    assert content(image, "etc/fstab") == ""
    assert run_ch_run(image, "--", "sh", "/etc/rc", "echo", "right").stdout == "right\n"


def test_what_a_line_cannot_express() -> None:
    config = ImageConfig(env=("LINES=one\ntwo", "WORD=a", "DOLLAR=$HOME ${1} ${"))
    lines = b'DOLLAR="$HOME ${1} ${"\nWORD="a"\n'
    assert enroot_files(config, [])[b"etc/environment"].content == lines


def test_no_way_to_the_host(
    run_ch_image: Runner, convert: Convert, bb: str, tmp_path: Path
) -> None:
    """Enroot puts variables of the host into the files, and resolves sources of mounts there."""
    (tmp_path / "Dockerfile").write_text(r"""
FROM bb
RUN ln -s / /up && ln -s /home /data && mkdir /real
ENV SECRET='a ${TOKEN}' WORD=a
VOLUME ["/up/home", "/data", "/data/more", "/real", "/real/new"]
""")
    run_ch_image("build", "-t", "hostile", tmp_path)
    convert("-o", "enroot", "hostile", tmp_path / "image.sqsh")
    assert content(tmp_path / "image.sqsh", "etc/environment") == 'WORD="a"\n'
    fstab = content(tmp_path / "image.sqsh", "etc/fstab").splitlines()
    assert [line.split()[1] for line in fstab] == ["/real", "/real/new"]


@pytest.mark.parametrize("name", ["etc", "etc/fstab"])
def test_something_in_the_way(
    name: str, run_ch_image: Runner, convert: Convert, tmp_path: Path
) -> None:
    """Enroot would follow a symlink on the host, or obey what the image has behind it."""
    (tmp_path / "tree/odd").mkdir(parents=True)
    (tmp_path / "tree/odd/fstab").write_text("/home /home none rbind,rw\n")
    if name == "etc":
        (tmp_path / "tree/etc").symlink_to("odd")
    else:
        (tmp_path / "tree/etc/fstab").mkdir(parents=True)
    run_ch_image("import", tmp_path / "tree", "odd")
    done = convert("-o", "enroot", "odd", tmp_path / "image.sqsh", check=False)
    assert done.returncode == 1
    assert f"/{name} of the image is {'no' if name == 'etc' else 'a'} directory" in done.stderr
    assert not (tmp_path / "image.sqsh").exists()


def test_devices(run_ch_image: Runner, convert: Convert, bb: str, tmp_path: Path) -> None:
    """An ordinary user unpacks the file as `enroot create` does, which stops at the first error."""
    (tmp_path / "Dockerfile").write_text("FROM bb\nRUN mkdir /d && mknod /d/null c 1 3\n")
    run_ch_image("build", "--force=notify", "-t", "odd", tmp_path)
    convert("-o", "enroot", "odd", tmp_path / "image.sqsh")
    unpack = ("unsquashfs", "-user-xattrs", "-d", tmp_path / "tree", tmp_path / "image.sqsh")
    subprocess.run(unpack, capture_output=True, check=True)
    assert (tmp_path / "tree/d/null").read_bytes() == b""


def test_inputs_without_a_configuration(convert: Convert, bb: str, tmp_path: Path) -> None:
    for form in ("dir", "tar", "squash"):
        source = tmp_path / f"source.{form}"
        convert("-o", form, bb, source)
        failed = convert("-i", form, "-o", "enroot", source, tmp_path / "out", check=False)
        assert failed.returncode == 1, form
        assert f"format {form} has no configuration for Enroot" in failed.stderr
        assert not (tmp_path / "out").exists()
