"""Images of more layers than fit into one mount(2), up to the most that overlayfs stacks."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel import overlay
from sundog.base.kernel.overlay import layers_limit, mount_layers
from sundog.base.record.layer_path import LAYER_TREE
from sundog.base.record.owners import pack_owners
from sundog.base.record.stack import ID_LENGTH
from sundog.errors import KernelError
from sundog.image.oci.config import HistoryEntry
from sundog.image.store import layers as store_layers
from sundog.image.store.layer_ids import layer_id
from sundog.image.store.layer_info import LayerInfo
from sundog.image.store.mounted import mounted_names
from sundog.image.store.overlay_driver import OverlayDriver
from sundog.image.store.store import Store
from tests.base.kernel.child import in_namespaces
from tests.base.kernel.test_overlay import enter_scratch
from tests.conftest import command
from tests.image.layer.archives import directory, file
from tests.image.pull.faulty import FaultyRegistry
from tests.image.pull.images import Shelf
from tests.image.registry.servers import InProcessRegistry
from tests.image.store.conftest import image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

# Images of more layers are joined: beside them, ch-run stacks directories of its own.
MOST = layers_limit(ID_LENGTH + len(LAYER_TREE)) - 1


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
            history = (HistoryEntry(created_by="COPY"),) * count
            config = replace(made.config, diff_ids=("",) * count, history=history)
            store.images.put(replace(made, config=config))


@pytest.fixture
def images(
    storage: Path, busybox_tar: Path, run_ch_image: Runner, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("CH_IMAGE_DRIVER", "overlay")
    run_ch_image("import", busybox_tar, "bb")
    make_images(storage, 153, MOST)
    return storage


def count_layers(run_ch_image: Runner, name: str) -> int:
    return len(json.loads(run_ch_image("inspect", name).stdout)[0]["layers"])


def test_as_many_as_the_kernel_stacks(images: Path, tmp_path: Path, run_ch_run: Runner) -> None:
    """What a start adds to the most layers that an image has: its own files, the skeleton, more."""
    count = ("sh", "-c", "ls /many | wc -l")
    assert run_ch_run("b153", "--", *count).stdout == "152\n"
    whole = f"{MOST - 1}\n"
    overlays = []
    for number in range(9):
        overlays += [f"--overlay={tmp_path}/o{number}:ro"]
        (tmp_path / f"o{number}").mkdir()
    for options in (
        ("-W",),
        ("--notify",),
        ("--notify", "-W"),
        (f"--bind={tmp_path}:/missing/point", "--notify"),
        (f"--bind={tmp_path}:/missing/point", *overlays),
        (f"--overlay={tmp_path}/o0", "--notify"),
    ):
        assert run_ch_run(*options, f"b{MOST}", "--", *count).stdout == whole, options
    done = run_ch_run(*overlays, *overlays, f"b{MOST}", "--", *count, check=False)
    assert "hint: give fewer directories by --overlay" in done.stderr


def test_more_are_joined(
    images: Path, tmp_path: Path, run_ch_image: Runner, run_ch_run: Runner
) -> None:
    """A build goes on where overlayfs does not, and each result runs; it is cached as usual."""
    lines = [f"COPY Dockerfile /copied{number}" for number in range(4)]
    lines += ["RUN rm /many/0 /copied1 && chown 5:6 /copied2 && echo x >/etc/new", "ENV A=b"]
    lines += [f"RUN cat /copied0 /etc/new >/ran{number}" for number in range(3)]
    other = "FROM bb\nCOPY --from=0 /ran2 /\nRUN --mount=from=0,target=/m ls /m/many | wc -l\n"
    (tmp_path / "Dockerfile").write_text(f"FROM b{MOST}\n" + "\n".join(lines) + f"\n{other}")
    build = ("build", "--target=0", "-t", "child", "--force=seccomp", tmp_path)
    done = run_ch_image(*build)
    assert done.stderr.count(f"layers into 1: overlayfs stacks at most {MOST}") == 1
    look = ("sh", "-c", "ls /many | wc -l && ls / | grep -c -e copied -e ran && cat /etc/new")
    assert run_ch_run("child", "--", *look).stdout == f"{MOST - 2}\n6\nx\n"
    layers = count_layers(run_ch_image, "child")
    assert layers < MOST
    history = json.loads(run_ch_image("history", "--format=json", "child").stdout)
    assert sum(not entry["empty_layer"] for entry in history) == layers
    told = [entry["comment"] for entry in history if entry["comment"]]
    assert told == [f"{MOST + 9 - layers} layers, joined because overlayfs stacks no more"]
    assert [one["created_by"] for one in history][-1].startswith("RUN")
    # A cached build runs nothing, joins nothing, and leaves the image as it is.
    before = next((images / "images").glob("*child+latest")).stat()
    done = run_ch_image(*build)
    assert "joining" not in done.stderr
    assert not [line for line in done.stderr.splitlines() if line[:3].strip()[-1:] == "."]
    assert next((images / "images").glob("*child+latest")).stat().st_ino == before.st_ino
    done = run_ch_image("build", "-t", "other", tmp_path)
    assert f"{MOST - 2}\n" in done.stdout
    # It is a base, has a second name, and goes out and in.
    (tmp_path / "Dockerfile").write_text("FROM child\nRUN rm /ran0\nCOPY Dockerfile /more\n")
    run_ch_image("build", "-t", "grandchild", tmp_path)
    run_ch_image("tag", "grandchild", "second")
    run_ch_image("save", "-o", tmp_path / "saved.tar", "second")
    run_ch_image("delete", "grandchild", "second", "child")
    run_ch_image("load", tmp_path / "saved.tar", "loaded")
    assert run_ch_run("loaded", "--", *look).stdout == f"{MOST - 2}\n5\nx\n"


def test_an_old_image_of_too_many_layers(
    images: Path, run_ch_image: Runner, run_ch_run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both drivers join.  What another kernel has put there is joined by the next command."""
    make_images(images, MOST + 1, driver="copy")
    assert count_layers(run_ch_image, f"b{MOST + 1}") <= MOST
    count = ("sh", "-c", "ls /many | wc -l")
    assert run_ch_run(f"b{MOST + 1}", "--", *count).stdout == f"{MOST}\n"
    with monkeypatch.context() as patched:
        patched.setattr(OverlayDriver, "check_runnable", lambda *_: None)
        patched.setattr(store_layers, "layers_limit", lambda _: 10_000)
        make_images(images, 520)
    done = run_ch_run("b520", "--", *count, check=False)
    assert "ch-image tag IMAGE IMAGE joins" in done.stderr
    run_ch_image("tag", "b520", "b520")
    assert run_ch_run("b520", "--", *count).stdout == "519\n"


def test_a_pulled_image_of_500_layers(
    storage: Path, busybox_tar: Path, run_ch_image: Runner, run_ch_run: Runner
) -> None:
    shelf = Shelf()
    layers = [shelf.tar_layer(busybox_tar.read_bytes(), "none")]
    layers += [
        shelf.layer(
            directory("./"),
            directory("many", gid=3),
            file(f"many/{number}"),
            *([] if number % 98 else [file(f"many/.wh.{number - 1}", b"")]),
            compression="none",
        )
        for number in range(499)
    ]
    shelf.image(*layers, tag="app:1")
    look = ("sh", "-c", "ls /many | wc -l")
    with FaultyRegistry(shelf).serve() as registry, InProcessRegistry().serve() as target:
        done = run_ch_image("pull", "--tls-no-verify", f"{registry.host}/app:1", "app")
        assert f"overlayfs stacks at most {MOST}" in done.stderr
        assert run_ch_run("app", "--", *look).stdout == "494\n"
        count = count_layers(run_ch_image, "app")
        assert count == len(os.listdir(storage / "layers")) <= MOST
        asked = len(registry.asked)
        done = run_ch_image("pull", "--tls-no-verify", f"{registry.host}/app:1", "app")
        assert "up to date" in done.stderr
        assert len(registry.asked) - asked <= 2
        assert run_ch_run("--notify", "app", "--", "stat", "-c", "%g", "/many").stdout == "3\n"
        run_ch_image("push", "--tls-no-verify", "app", f"{target.host}/app:2")
        manifest = json.loads(target.manifests["app", "2"][1])
        config = json.loads(target.blobs["app", manifest["config"]["digest"]])
        blobs = [target.blobs["app", layer["digest"]] for layer in manifest["layers"]]
        assert len(blobs) == len(config["rootfs"]["diff_ids"]) == count
        assert sum(not entry.get("empty_layer") for entry in config["history"]) == count
        assert len(config["history"]) == 500
        names: set[str] = set()
        for blob in blobs:
            with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
                new = set(tar.getnames())
            names -= {name.replace(".wh.", "") for name in new if ".wh." in name}
            names |= {name for name in new if name.startswith("many/") and ".wh." not in name}
        assert len(names) == 494


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
    assert "fewer directories by --overlay" in caught.value.hint
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
