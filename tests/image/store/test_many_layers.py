"""Images of more layers than fit into one mount(2), up to the most that overlayfs stacks."""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel import overlay
from sundog.base.kernel.overlay import OVERLAY_MAX_LOWERS, mount_layers
from sundog.base.record.owners import pack_owners
from sundog.errors import KernelError, StoreError
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.layers import layer_id
from sundog.image.store.mounted import mounted_names
from sundog.image.store.store import Store
from tests.base.kernel.child import in_namespaces
from tests.base.kernel.test_overlay import enter_scratch
from tests.conftest import command
from tests.image.store.conftest import image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

# The kernel takes 500: the layers, the image's own root and the skeleton.
MOST = OVERLAY_MAX_LOWERS - 2


def make_images(storage: Path, *counts: int, driver: str = "overlay") -> None:
    """Make for each number N the image bN of N layers: bb, then one new file in each layer."""
    with Store.open(str(storage), driver=driver) as store:
        (base,) = store.images.get("bb").layers
        drafts = []
        for number in range(max(counts) - 1):
            draft = store.scratch.new()
            os.makedirs(draft + b"/tree/many")
            with open(draft + b"/tree/many/%d" % number, "x"):
                pass
            with open(draft + b"/owners", "xb") as file:
                file.write(pack_owners({}))
            drafts.append((draft, layer_id("many", str(number)), LayerInfo()))
        store.layers.add_all(drafts)
        layers = [base, *(layer for _, layer, _ in drafts)]
        for count in counts:
            made = image(f"b{count}", *layers[:count])
            config = replace(made.config, diff_ids=("",) * count)
            store.images.put(replace(made, config=config))


@pytest.fixture
def images(
    storage: Path, busybox_tar: Path, run_ch_image: Runner, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("CH_IMAGE_DRIVER", "overlay")
    run_ch_image("import", busybox_tar, "bb")
    make_images(storage, 153, MOST - 1, MOST)
    return storage


def test_as_many_as_the_kernel_stacks(
    images: Path, tmp_path: Path, run_ch_image: Runner, run_ch_run: Runner
) -> None:
    count = ("sh", "-c", "ls /many | wc -l")
    assert run_ch_run("b153", "--", *count).stdout == "152\n"
    assert run_ch_run(f"b{MOST}", "--", *count).stdout == f"{MOST - 1}\n"
    assert (
        run_ch_run("-W", f"b{MOST}", "--", "sh", "-c", "echo x >/new && cat /new").stdout == "x\n"
    )
    # A build starts from it and copies from it; the result runs unless it has too many layers.
    (tmp_path / "Dockerfile").write_text(
        f"FROM b{MOST - 1} AS base\nRUN rm /many/0 && ls /many | wc -l\n"
        f"FROM bb\nRUN --mount=from=base,target=/base ls /base/many | wc -l\n"
        f"COPY --from=base /many /copy\nRUN ls /copy | wc -l\nFROM base\n"
    )
    done = run_ch_image("build", "-t", "child", tmp_path)
    assert done.stdout == f"{MOST - 3}\n"
    done = run_ch_image("build", "-t", "other", "--target=1", tmp_path)
    assert done.stdout == f"{MOST - 3}\n{MOST - 3}\n"
    assert run_ch_run("child", "--", *count).stdout == f"{MOST - 3}\n"
    # An image that ch-run could not mount is refused, by each command that would make it.
    with pytest.raises(
        StoreError, match=f"an image of {MOST + 1} layers: more than this"
    ) as caught:
        make_images(images, MOST + 1)
    assert "CH_IMAGE_DRIVER=copy" in caught.value.hint
    (tmp_path / "Dockerfile").write_text(f"FROM b{MOST}\nCOPY Dockerfile /\n")
    done = run_ch_image("build", "-t", "more", tmp_path, check=False)
    assert done.returncode == 1
    assert f"an image of {MOST + 1} layers: more than this kernel stacks\nhint: " in done.stderr
    make_images(images, MOST + 1, driver="copy")
    assert run_ch_run(f"b{MOST + 1}", "--", *count).stdout == f"{MOST}\n"
    assert "more" not in run_ch_image("list").stdout


def test_what_a_container_has_mounted_is_found_by_name(images: Path) -> None:
    argv = [*command("ch-run"), f"b{MOST}", "--", "sh", "-c", "echo ready && read x"]
    with subprocess.Popen(
        argv,
        env=os.environ | {"CH_IMAGE_STORAGE": str(images)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        names = {layer_id("many", str(number)).encode() for number in range(MOST + 5)}
        assert len(mounted_names(names, os.fsencode(images))) == MOST - 1
        process.communicate(b"\n")


def in_many_directories(count: int) -> None:
    enter_scratch()
    lowers = [b"%0200d,: " % number for number in range(count)]
    for lower in lowers:
        os.mkdir(lower)
        os.close(os.open(lower + b"/" + lower[-20:], os.O_CREAT))
    os.mkdir("upper")
    os.mkdir("work")
    mount_layers(b"merged", lowers, b"upper", b"work", volatile=True, xino=True)


def test_the_options_are_those_of_the_short_way() -> None:
    def attempt(count: int) -> tuple[int, bool, set[bytes]]:
        in_many_directories(count)
        os.mkdir("merged/new")
        with open("/proc/self/mountinfo", "rb") as file:
            (line,) = (line for line in file if b" overlay sundog " in line)
        options = {option for option in line.split()[-1].split(b",") if b"dir" not in option}
        return len(os.listdir("merged")), os.path.isdir("upper/new"), options

    short, long = (in_namespaces(lambda count=count: attempt(count)) for count in (2, 200))  # type: ignore[misc]
    assert short[:2] == (3, True)
    assert long[:2] == (201, True)
    assert b"userxattr" in short[2]
    assert long[2] >= short[2]


def test_a_kernel_without_that_gives_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise KernelError("fsopen", "overlay", errno.ENOSYS, "can't fsopen overlay")

    monkeypatch.setattr(overlay, "fsopen", refuse)
    with pytest.raises(KernelError, match="200 layers need") as caught:
        mount_layers(b"/", [b"x" * 200] * 200)
    assert "CH_IMAGE_DRIVER=copy" in caught.value.hint
    monkeypatch.undo()

    def no_such_key(context: int, command: int, key: bytes = b"", value: bytes = b"") -> None:
        if key == b"lowerdir+":
            raise KernelError("fsconfig", os.fsdecode(value), errno.EINVAL, "can't fsconfig")

    def attempt() -> str:
        vars(overlay)["fsconfig"] = no_such_key
        before = os.listdir("/proc/self/fd")
        try:
            mount_layers(b"/", [b"x" * 200] * 200)
        except KernelError as error:
            assert os.listdir("/proc/self/fd") == before
            return error.message
        return ""

    assert "200 layers need" in in_namespaces(attempt)
