"""Images by name: all spellings name one image; a new one replaces it whole; its own files."""

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.record.stack import read_stack
from sundog.errors import KernelError, NotInStorage, ReferenceSyntaxError, StoreError
from sundog.image.oci.config import HistoryEntry
from sundog.image.store import images
from sundog.image.store.store import Store
from tests.image.store.conftest import image, temporary_things


def stack_of(storage: Path, directory: str) -> tuple[list[bytes], list[bytes], bytes]:
    fd = os.open(storage / "images" / directory, os.O_RDONLY)
    try:
        stack = read_stack(fd)
    finally:
        os.close(fd)
    return stack.entrypoint, stack.command, stack.workdir


def test_image_comes_back_as_it_was_put(store: Store) -> None:
    put = image("alpine:3", env=("A=1",), cmd=("sh", "-c", ""), labels={"k": "v"})
    store.images.put(put)
    assert store.images.get("docker.io/library/alpine:3") == put


@pytest.mark.parametrize("spelling", ["alpine", "alpine:latest", "docker.io/library/alpine:latest"])
def test_all_spellings_of_a_name_are_one_image(store: Store, spelling: str) -> None:
    store.images.put(image("alpine"))
    assert store.images.get(spelling).typed == "alpine"
    store.images.put(image(spelling, env=("NEW=1",)))
    assert [(i.typed, i.config.env) for i in store.images.list()] == [("alpine", ("NEW=1",))]


def test_missing_image_says_what_to_do(store: Store) -> None:
    with pytest.raises(NotInStorage, match=r"^not in storage: absent:1$") as error:
        store.images.get("absent:1")
    assert error.value.hint == "ch-image pull absent:1; or ch-image import PATH absent:1"
    with pytest.raises(NotInStorage, match=r"^not in storage: absent:1$"):
        store.images.delete("absent:1")
    with pytest.raises(ReferenceSyntaxError):
        store.images.get("../x")


def test_list_is_sorted_as_typed_and_patterns_match(store: Store) -> None:
    for name in ("b:2", "a", "example.org/c", "b:1"):
        store.images.put(image(name))
    assert [i.typed for i in store.images.list()] == ["a", "b:1", "b:2", "example.org/c"]
    for pattern, names in {
        "b:*": ["b:1", "b:2"],
        "docker.io/*": ["a", "b:1", "b:2"],
        "[ab]*": ["a", "b:1", "b:2"],
        "a:latest": ["a"],
        "library/a": ["a"],
        "z*": [],
        "c": [],
    }.items():
        assert [i.typed for i in store.images.matching(pattern)[pattern]] == names


def test_deleted_image_is_gone_and_leaves_nothing(store: Store, storage: Path) -> None:
    store.images.put(image("a"))
    store.images.put(image("b"))
    store.images.delete("a:latest")
    assert [i.typed for i in store.images.list()] == ["b"]
    store.close()
    assert temporary_things(storage) == []


def test_files_for_ch_run(store: Store, storage: Path) -> None:
    store.images.put(
        image("x", entrypoint=("e", "\udcff"), cmd=("c", ""), working_dir="/w", env=("B=2", "A=1"))
    )
    directory = "docker.io%library%x+latest"
    assert stack_of(storage, directory) == ([b"e", b"\xff"], [b"c", b""], b"/w")
    root = storage / "images" / directory / "root"
    assert root.stat().st_mode & 0o7777 == 0o755
    assert sorted(os.listdir(root)) == ["ch"]
    assert (root / "ch").stat().st_mode & 0o7777 == 0o755
    assert (root / "ch/environment").read_bytes() == b"A=1\nB=2\n"
    assert (root / "ch/environment").stat().st_mode & 0o7777 == 0o644


def test_environment_file_leaves_out_what_it_cannot_say(store: Store, storage: Path) -> None:
    store.images.put(image("x", env=("A=1\nEVIL=2", "B=\udcfe", "C", "=D")))
    file = storage / "images/docker.io%library%x+latest/root/ch/environment"
    assert file.read_bytes() == b"B=\xfe\nC=\n"


def test_metadata_file(store: Store, storage: Path) -> None:
    store.images.put(
        image(
            "x",
            architecture="arm64",
            variant="v8",
            env=("A=1",),
            labels={"l": "m"},
            volumes=("/v",),
            history=(HistoryEntry("2020-01-01T00:00:00Z", "RUN true", empty_layer=True),),
        )
    )
    (directory,) = (storage / "images").iterdir()
    text = (directory / "root/ch/metadata.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "arch": "arm64/v8",
        "arg": {},
        "cwd": "/",
        "env": {"A": "1"},
        "history": [
            {"created": "2020-01-01T00:00:00Z", "created_by": "RUN true", "empty_layer": True}
        ],
        "labels": {"l": "m"},
        "shell": ["/bin/sh", "-c"],
        "volumes": ["/v"],
    }


@pytest.mark.parametrize("field", [{"cmd": ("a\0",)}, {"working_dir": "\ud800"}])
def test_configuration_that_no_command_can_have_is_refused(
    store: Store, field: dict[str, object]
) -> None:
    with pytest.raises(StoreError, match="in the image's co"):
        store.images.put(image("x", **field))
    assert list(store.images.list()) == []


def test_damaged_image_is_named_and_can_be_deleted(store: Store, storage: Path) -> None:
    store.images.put(image("a"))
    store.images.put(image("b"))
    (storage / "images/docker.io%library%a+latest/image.json").write_text("")
    with pytest.raises(StoreError, match=r"damaged image in storage: docker\.io/library/a:latest"):
        store.images.get("a")
    assert [i.typed for i in store.images.list()] == ["b", "docker.io/library/a:latest"]
    store.images.delete("a")
    assert [i.typed for i in store.images.list()] == ["b"]


def test_damaged_image_can_be_replaced(store: Store, storage: Path) -> None:
    store.images.put(image("a"))
    (storage / "images/docker.io%library%a+latest/config.json").unlink()
    store.images.put(image("a", env=("A=1",)))
    assert store.images.get("a").config.env == ("A=1",)


def test_reader_finds_the_old_image_or_the_new_one(open_store: Callable[[], Store]) -> None:
    writer, reader = open_store(), open_store()
    writer.images.put(image("x", user="0", env=("N=0",)))
    rounds = 100
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while True:
                config = reader.images.get("x").config
                assert config.env == (f"N={config.user}",)
                if config.user == str(rounds):
                    return
        except BaseException as error:
            failures.append(error)

    # The thread does not call the worker: a thread must not fork the worker.
    thread = threading.Thread(target=read)
    thread.start()
    for number in range(1, rounds + 1):
        writer.images.put(image("x", user=str(number), env=(f"N={number}",)))
    thread.join()
    assert failures == []


def refuse_exchange(*_: object) -> None:
    raise KernelError("renameat2", "x", errno.EINVAL, "can't rename: Invalid argument")


def test_replacement_where_the_file_system_cannot_exchange(
    store: Store, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "renameat2", refuse_exchange)
    for number in ("1", "2", "3"):
        store.images.put(image("x", user=number))
        assert [i.config.user for i in store.images.list()] == [number]
    store.close()
    assert temporary_things(storage) == []
