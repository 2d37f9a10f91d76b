"""``img/`` and ``dlcache/``: what callers of Charliecloud look for in the storage directory."""

from __future__ import annotations

import os
import shutil
from signal import SIGKILL
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.names import canonical_name, name_to_directory
from sundog.errors import StoreError
from sundog.image.store.img_links import ImgLinks, spellings
from tests.image.store.conftest import image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sundog.image.store.store import Store

SHA256 = "sha256+" + "0123456789abcdef" * 4
APP = "docker.io%library%app"
OF_APP = ["app", "app+latest", "docker.io%app+latest", f"{APP}+latest", "library%app+latest"]


@pytest.fixture
def driver() -> str:
    return "overlay"


def links(storage: Path) -> list[str]:
    return sorted(os.listdir(storage / "img"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app", OF_APP),
        ("app:1", ["app+1", "docker.io%app+1", f"{APP}+1", "library%app+1"]),
        ("a/b:1", ["a%b+1", "docker.io%a%b+1"]),
        ("library/a/b:1", ["docker.io%library%a%b+1", "library%a%b+1"]),
        ("quay.io/a/b:1", ["quay.io%a%b+1"]),
        ("localhost:5000/x", ["localhost+5000%x", "localhost+5000%x+latest"]),
        # Without docker.io, these would be in another registry.
        ("docker.io/test.com/x:1", ["docker.io%test.com%x+1"]),
        ("docker.io/localhost/x:1", ["docker.io%localhost%x+1"]),
        ("a/b@" + SHA256.replace("+", ":"), [f"a%b@{SHA256}", f"docker.io%a%b@{SHA256}"]),
    ],
)
def test_spellings(name: str, expected: list[str]) -> None:
    assert sorted(spellings(name_to_directory(canonical_name(name)))) == expected


WORDS = st.sampled_from(["a", "library", "docker.io", "localhost", "test.com", "x-y", "latest"])


@given(
    st.builds(
        lambda words, end: "/".join(words) + end,
        st.lists(WORDS, min_size=1, max_size=4),
        st.sampled_from(["", ":1", ":latest", "@" + SHA256.replace("+", ":")]),
    )
)
def test_each_spelling_names_the_image(name: str) -> None:
    canonical = canonical_name(name)
    directory = name_to_directory(canonical)
    names = spellings(directory)
    assert directory in names
    assert [canonical_name(spelling) for spelling in names] == [canonical] * len(names)


def test_an_image_has_its_links_as_long_as_it_is_there(store: Store, storage: Path) -> None:
    assert sorted(os.listdir(storage / "dlcache")) == []
    store.images.put(image("app"))
    assert links(storage) == OF_APP
    for name in OF_APP:
        assert (storage / "img" / name / "ch/environment").is_file()
    store.images.put(image("docker.io/app:latest", env=("A=1",)))
    assert links(storage) == OF_APP
    assert (storage / "img/app+latest/ch/environment").read_text() == "A=1\n"
    store.images.put(image("quay.io/x:1"))
    store.images.delete("app")
    assert links(storage) == ["quay.io%x+1"]
    store.clear()
    assert links(storage) == []


def test_deleted_links_come_back(open_store: Callable[[], Store], storage: Path) -> None:
    """Nextflow deletes its link after a pull that failed, and then pulls the image again."""
    open_store().images.put(image("app"))
    (storage / "img/app+latest").unlink()
    open_store().images.get("app")
    assert links(storage) == OF_APP
    (storage / "img/app+latest").unlink()
    open_store().images.matching("app")
    assert links(storage) == OF_APP
    shutil.rmtree(storage / "img")
    open_store()
    assert links(storage) == OF_APP
    open_store().images.get("app")


def test_files_deleted_through_a_link_are_missed(store: Store, storage: Path) -> None:
    """As by "rm -rf img/app/": the slash makes rm follow the link."""
    store.images.put(image("app"))
    shutil.rmtree(storage / "img/app/ch")
    with pytest.raises(StoreError, match=r"^damaged image in storage: "):
        store.images.get("app")
    (found,) = store.images.list()
    assert found.origin.startswith("damaged image")
    store.images.put(image("app"))
    assert (storage / "img/app/ch/environment").exists()


def test_a_command_that_is_killed_before_the_links(
    open_store: Callable[[], Store], storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(operation: Callable[[Store], object]) -> None:
        child = os.fork()
        if not child:
            with monkeypatch.context() as patched:
                patched.setattr(ImgLinks, "follow", lambda *_: os.kill(os.getpid(), SIGKILL))
                operation(open_store())
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -SIGKILL

    with open_store() as store:
        store.images.put(image("old"))
    killed(lambda store: store.images.put(image("app")))
    assert "app" not in links(storage)
    open_store()
    assert set(OF_APP) < set(links(storage))
    killed(lambda store: store.images.delete("old"))
    assert "old" in links(storage)
    assert not (storage / "img/old").exists()
    open_store().close()
    assert links(storage) == OF_APP


def test_a_store_of_an_earlier_version(open_store: Callable[[], Store], storage: Path) -> None:
    open_store().images.put(image("app"))
    shutil.rmtree(storage / "img")
    (storage / "dlcache").rmdir()
    open_store()
    assert links(storage) == OF_APP
    assert (storage / "dlcache").is_dir()


def test_what_is_not_ours_stays(open_store: Callable[[], Store], storage: Path) -> None:
    store = open_store()
    (storage / "img/app+latest").mkdir()
    (storage / "img/Not a name").touch()
    (storage / "img/other").touch()
    store.images.put(image("app"))
    store.images.delete("app")
    open_store()
    assert links(storage) == ["Not a name", "app+latest", "other"]


def test_links_that_cannot_be_made_fail_nothing(
    open_store: Callable[[], Store], storage: Path
) -> None:
    store = open_store()
    (storage / "img").rmdir()
    (storage / "img").touch()
    store.images.put(image("app"))
    assert [found.typed for found in open_store().images.list()] == ["app"]
    open_store().images.delete("app")


def test_one_command_makes_an_image_while_another_deletes_it(
    open_store: Callable[[], Store], storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second command acts between the look and the links of the first."""
    store = open_store()
    store.images.put(image("app"))
    other = open_store()
    set_link = ImgLinks._set
    acts: list[Callable[[], object]] = [lambda: other.images.put(image("app"))]

    def slow(self: ImgLinks, name: str, directory: str, *, is_there: bool) -> None:
        while acts:
            acts.pop()()
        set_link(self, name, directory, is_there=is_there)

    monkeypatch.setattr(ImgLinks, "_set", slow)
    store.images.delete("app")
    assert links(storage) == OF_APP
    acts.append(lambda: other.images.delete("app"))
    store.images.put(image("app"))
    assert links(storage) == []


@pytest.mark.parametrize(
    "name", ["docker.io%library%app+latest", "app+latest", "library%app", "docker.io/app+latest"]
)
def test_names_as_paths_spell_them(store: Store, name: str) -> None:
    store.images.put(image("app"))
    assert store.images.get(name).typed == "app"
    store.images.put(image(name))
    (found,) = store.images.list()
    assert "%" not in found.typed
    assert "+" not in found.typed
