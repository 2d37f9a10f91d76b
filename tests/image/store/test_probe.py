"""The probe: it returns overlay where all of overlayfs works, else copy and the reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sundog.errors import KernelError, UsageError
from sundog.image.store import probe as probe_module
from sundog.image.store.probe import probe
from sundog.image.store.store import Store


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CH_IMAGE_DRIVER", raising=False)


def test_overlay_works_here_as_mounting_one_shows(tmp_path: Path) -> None:
    for name in ("a", "b", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    script = "mount -t overlay -o userxattr,lowerdir=a:b,upperdir=upper,workdir=work none merged"
    mounted = subprocess.run(
        ["unshare", "-r", "-m", "sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    (tmp_path / "place").mkdir()
    name, reason = probe(os.fsencode(tmp_path / "place"))
    assert (name == "overlay") == (mounted.returncode == 0), (reason, mounted.stderr)


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        ("/removed", "marks deleted files in an unknown way"),
        ("/appended", "does not copy files up"),
        ("/renamed", "does not rename directories"),
    ],
)
def test_each_mark_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str, reason: str
) -> None:
    """Overlayfs makes its marks; then the test removes one of them."""
    missing_mark = probe_module._missing_mark

    def sabotaged(upper: bytes) -> str:
        path = Path(os.fsdecode(upper) + without)
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
            path.touch()
        return missing_mark(upper)

    monkeypatch.setattr(probe_module, "_missing_mark", sabotaged)
    name, found = probe(os.fsencode(tmp_path))
    assert name == "copy"
    assert reason in found


def test_marks_that_a_lower_layer_would_not_have_heeded_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strip(upper: bytes) -> str:
        os.removexattr(upper + b"/replaced", "user.overlay.opaque")
        return ""

    monkeypatch.setattr(probe_module, "_missing_mark", strip)
    name, reason = probe(os.fsencode(tmp_path))
    assert (name, "opaque directories of a lower" in reason) == ("copy", True)


def test_file_system_without_user_xattrs_gets_copy(tmp_path: Path) -> None:
    """The ramfs of /proc has no user xattrs, nor has an overlay on an overlay's upper."""
    program = (
        "import os, sys\n"
        "from sundog.image.store.probe import probe\n"
        "print(*probe(sys.argv[1].encode()))\n"
    )
    mount = 'mount -t ramfs none "$2" && exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        ["unshare", "-r", "-m", "sh", "-c", mount, sys.executable, program, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("copy ")
    assert len(done.stdout.splitlines()) == 1


def test_without_user_namespaces_no_driver_is_chosen(storage: Path) -> None:
    program = (
        "import sys\n"
        "from sundog.errors import KernelError\n"
        "from sundog.image.store.store import Store\n"
        "try:\n"
        "    Store.open(sys.argv[1]).driver\n"
        "except KernelError as error:\n"
        "    print(error.call)\n"
    )
    limit = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        ["unshare", "-r", "sh", "-c", limit, sys.executable, program, storage],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "unshare\n"
    assert os.listdir(storage / "probe") == []


def test_result_is_kept_per_kernel_and_file_system(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(str(storage)) as store:
        name = store.driver.name
    (note,) = (storage / "probe").iterdir()
    assert note.name == f"{os.uname().release}-{storage.stat().st_dev:x}"
    assert note.read_text().splitlines()[0] == name

    def never(_: bytes) -> tuple[str, str]:
        raise AssertionError("probed again")

    monkeypatch.setattr(probe_module, "probe", never)
    assert Store.open(str(storage)).driver.name == name
    note.write_text("copy\nas the test says\n")
    assert Store.open(str(storage)).driver.name == "copy"
    note.write_text("")
    with pytest.raises(AssertionError, match="probed again"):
        _ = Store.open(str(storage)).driver


def test_driver_is_chosen_by_argument_then_environment(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CH_IMAGE_DRIVER", "copy")
    assert Store.open(str(storage)).driver.name == "copy"
    assert Store.open(str(storage), driver="overlay").driver.name == "overlay"
    monkeypatch.setenv("CH_IMAGE_DRIVER", "zfs")
    with pytest.raises(UsageError, match="unknown storage driver: zfs") as error:
        _ = Store.open(str(storage)).driver
    assert error.value.hint == "known: overlay, copy"
    assert not issubclass(UsageError, KernelError)
