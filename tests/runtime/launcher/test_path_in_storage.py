"""``ch-run STORAGE/img/NAME``: the path of an image in a storage directory is the image."""

import os
from pathlib import Path

import pytest

from tests.runtime.launcher.compiled import Compiled, leave_accounts
from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, make_image, messages
from tests.runtime.launcher.storages import fill_storage, make_storage

APP = "docker.io%library%app+latest"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a storage directory that is not the current one."""
    return complete(tmp_path / "other")


def complete(path: Path) -> Path:
    storage = fill_storage(make_storage(path))
    (storage / "version").write_text("sundog 1\n")
    (storage / "img").mkdir()
    for name in ("app", "app+latest", APP):
        (storage / "img" / name).symlink_to(f"../images/{APP}/root")
    return storage


PLACES = [
    *("img/app+latest", f"img/{APP}", "img/app", f"images/{APP}", f"images/{APP}/root"),
    # Links of these names do not exist.  They name the image all the same.
    *("img/library%app+latest", "img/docker.io%app", "images/app"),
    *(f"img/{APP}/", f"images/{APP}//", "/img//app", "./img/./app/."),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("current", ["nowhere", "other"])
def test_a_path_is_the_image_with_its_layers(
    ch_run: ChRun, other: Path, place: str, current: str
) -> None:
    env = {"CH_IMAGE_STORAGE": str(other.parent / current)}
    done = ch_run(f"{other}/{place}", "--", "/bin/cat", "/below", env=env)
    assert (done.stdout, done.stderr) == (b"top\n", b"")
    done = ch_run("-W", "--set-env", f"{other}/{place}", "--", "sh", "-c", "echo $A", env=env)
    assert done.stdout == b"image\n"
    assert ch_run(f"{other}/{place}", env=env).stdout == b"default\n/mnt\n"


def test_relative_paths(ch_run: ChRun, other: Path) -> None:
    show = ("--", "/bin/cat", "/below")
    assert ch_run("./other/img/app+latest", *show).stdout == b"top\n"
    assert ch_run("other/img/app+latest", *show).stdout == b"top\n"
    assert ch_run("./app+latest", *show, cwd=other / "img").stdout == b"top\n"
    assert ch_run(f"../other/images/{APP}", *show, cwd=other).stdout == b"top\n"


def test_names_as_paths_spell_them(ch_run: ChRun, other: Path) -> None:
    for name in ("app+latest", "library%app", APP, "docker.io%app"):
        done = ch_run("-s", other, name, "--", "/bin/cat", "/below")
        assert (done.stdout, done.stderr) == (b"top\n", b"")


def test_a_name_in_storage_beats_a_path(ch_run: ChRun, other: Path, tmp_path: Path) -> None:
    storage = complete(tmp_path / "storage")
    (storage / "images" / APP).rename(storage / "images/docker.io%img%app+latest")
    (storage / "layers/top/tree/below").write_text("by name\n")
    done = ch_run("img/app", "--", "/bin/cat", "/below", cwd=other)
    assert done.stdout == b"by name\n"
    assert ch_run("./img/app", "--", "/bin/cat", "/below", cwd=other).stdout == b"top\n"


def test_an_image_in_storage_is_not_writable(ch_run: ChRun, other: Path) -> None:
    done = ch_run("-w", other / "img/app", "--", "true")
    assert done.returncode == 31
    assert messages(done)[0] == "error: --write invalid when running by name"


def test_directories_that_are_no_storage(ch_run: ChRun, tmp_path: Path) -> None:
    """Charliecloud's storage directory has directories in img/."""
    storage = tmp_path / "charliecloud"
    image = make_image(storage / "img/app+latest")
    (storage / "version").write_text("7\n")
    done = ch_run(image, "--", "sh", "-c", "echo a directory")
    assert (done.stdout, done.stderr) == (b"a directory\n", b"")
    image = make_image(tmp_path / "images/app")
    assert ch_run(image, "--", "sh", "-c", "echo a directory").stdout == b"a directory\n"


def test_an_image_that_is_gone(ch_run: ChRun, other: Path) -> None:
    (other / "img/gone+1").symlink_to("../images/docker.io%library%gone+1/root")
    for name in ("gone+1", "never+1", "Not a name"):
        done = ch_run(other / "img" / name, "--", "true")
        assert done.returncode == 31
        assert messages(done)[0].startswith(f"error: image not found: {other}/img/{name}: ")


def test_a_group_joins_by_a_path(ch_run: ChRun, other: Path) -> None:
    words = ("--join", "--join-ct=1", f"--join-tag={os.getpid()}", other / "img/app+latest")
    assert ch_run(*words, "--", "/bin/cat", "/below").stdout == b"top\n"


def test_the_compiled_start_leaves_these_paths_to_python(
    compiled: Compiled, other: Path, tmp_path: Path
) -> None:
    plain = make_image(tmp_path / "img/app")
    leave_accounts(other, os.geteuid(), os.getegid())
    env = ENVIRONMENT | {"CH_IMAGE_STORAGE": str(other)}

    def reason(image: str | Path) -> str:
        return compiled.reason((image, "--", "true"), env, tmp_path)

    assert reason("app") == reason(plain) == reason("./img/app") == ""
    for place in ("img/app", f"img/{APP}", f"images/{APP}", f"images/{APP}/root"):
        assert reason(other / place) == "perhaps a directory of the storage"
    assert reason("./other/img/app") == "perhaps a directory of the storage"
    for name in ("app+latest", "docker.io%app"):
        assert reason(name) == "a rare name"
