"""Images of one name for several platforms: which one starts, and what the errors name.

The files of all images are for this machine, so that each can run.
"""

from pathlib import Path

import pytest

from sundog.base.record.names import canonical_name, name_to_directory
from sundog.base.record.platform_names import host_platform, platform_text
from sundog.base.record.stack import ImageStack
from tests.runtime.launcher.conftest import ChRun, make_image
from tests.runtime.launcher.storages import add_image, make_storage

HOST = platform_text(host_platform())
FOREIGN, OTHER = "riscv64", "arm%v6"
SHOW = ("--", "cat", "/which")


def add_platform(storage: Path, name: str, key: str) -> None:
    """Add an image for a platform; the file /which tells it, as does the file of metadata."""
    make_image(storage / "layers" / f"{name}-{key}" / "tree")
    (storage / "layers" / f"{name}-{key}" / "tree" / "which").write_text(key)
    image = add_image(storage, name, ImageStack([f"{name}-{key}".encode()]))
    (image / "root/ch/metadata.json").write_text(f'{{\n  "arch": "{key.replace("%", "/")}",\n')
    if key != "here":
        directory = name_to_directory(canonical_name(name))
        image.rename(image.with_name(f"{directory}={key}"))
        note = storage / "platforms" / directory / key
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage with "all" for three platforms, "one" for a foreign one, "two" for two."""
    storage = make_storage(tmp_path / "storage")
    platforms = {"all": (FOREIGN, OTHER, "here"), "one": (FOREIGN,), "two": (FOREIGN, OTHER)}
    for name, keys in platforms.items():
        for key in keys:
            add_platform(storage, name, key)
    host = storage / "images/docker.io%library%all+latest/root/ch/metadata.json"
    host.write_text(f'{{\n  "arch": "{host_platform()[1]}",\n')
    return storage


@pytest.mark.usefixtures("storage")
def test_which_one_starts(ch_run: ChRun) -> None:
    for words, which in {
        ("all",): "here",
        ("-a", "host", "all"): "here",
        ("-a", host_platform()[1], "all"): "here",
        ("-a", "riscv64", "all"): FOREIGN,
        ("--arch=linux/arm/v6", "all"): OTHER,
        ("one",): FOREIGN,
        ("-a", "arm/v6", "two"): OTHER,
    }.items():
        done = ch_run(*words, *SHOW)
        assert done.stdout.decode() == which, (words, done.stderr)


@pytest.mark.usefixtures("storage")
def test_errors_name_what_there_is(ch_run: ChRun) -> None:
    for words, message in {
        ("two",): f"is in storage for linux/arm/v6, linux/riscv64, not for {HOST}",
        ("-a", "s390x", "all"): (
            f"docker.io/library/all:latest is in storage for {HOST}, linux/arm/v6, linux/riscv64,"
            " not for linux/s390x"
        ),
        ("-a", "riscv64", "absent"): "not in storage: absent; --arch chooses among images there",
        ("-a", "", "all"): "--arch: no architecture",
        ("-a", "a/b/c/d", "all"): "expected OS/ARCHITECTURE",
    }.items():
        done = ch_run(*words, *SHOW)
        assert done.returncode not in (0, 1), words
        assert message in done.stderr.decode(), (words, done.stderr)


def test_a_foreign_image_beats_a_directory_and_a_key_is_no_name(
    ch_run: ChRun, storage: Path
) -> None:
    make_image(storage.parent / "one")
    (storage.parent / "one" / "which").write_text("directory")
    assert ch_run("one", *SHOW).stdout == FOREIGN.encode()
    assert ch_run("./one", *SHOW).stdout == b"directory"
    done = ch_run(f"all:latest={FOREIGN}", *SHOW)
    assert done.returncode != 0
    assert b"image not found" in done.stderr
