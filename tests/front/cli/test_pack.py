"""``ch-image pack``: images whose layers are files do what images of trees do."""

from __future__ import annotations

import json
import os
import tarfile
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest

from sundog.errors import EXIT_ERROR, EXIT_RUN
from tests.conftest import copy_storage, run_program, runner
from tests.image.pull.conftest import flavours, no_logins, tls
from tests.packed import DOCKERFILE, make_packed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.pull.flavours import Flavours


__all__ = ["flavours", "no_logins", "tls"]

pytestmark = pytest.mark.usefixtures("fuse")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """Return a storage directory: ``plain`` of trees, ``bb`` of files, ``mixed`` of both."""
    return make_packed(tmp_path_factory.mktemp("pack"), busybox_tar)


@pytest.fixture(params=["python", "compiled"])
def run(request: pytest.FixtureRequest, made: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    if request.param == "python":
        monkeypatch.setenv("SUNDOG_START", "python")
    return runner("ch-run", made)


LOOK = "cat /etc/new; ls /etc/d; cat /etc/motd 2>&1; cat /copied | head -1; find /etc -xdev -type f"


def test_a_mixed_stack_runs(run: Runner) -> None:
    shown = run("mixed", "--", "sh", "-c", LOOK).stdout
    assert shown.startswith("new\ncat: can't open '/etc/motd'")
    assert "/etc/d/1" not in shown
    assert run("bb").stdout == "motd\n"


STARTS = ("python", "compiled")
SERVED = [
    ["mixed", "--", "sh", "-c", LOOK],
    ["bb"],
    ["-W", "mixed", "--", "sh", "-c", "echo x >>/etc/new; cat /etc/new; rm /etc/d -r; ls /etc"],
    ["-b", "PLACE:/not/there", "mixed", "--", "sh", "-c", "stat -c %A:%n /not; ls /not/there/* /"],
    ["-b", "/tmp:/tmp", "bb", "--", "find", "/", "-xdev", "-type", "f", "-links", "+1"],
    ["-u0", "-g0", "--seccomp", "mixed", "--", "id"],
]


@pytest.mark.parametrize("words", SERVED, ids=" ".join)
def test_both_starts_are_equal(made: Path, words: list[str]) -> None:
    run = runner("ch-run", made)
    words = [word.replace("PLACE", str(made.parent)) for word in words]
    python, compiled = (
        run(*words, env={"SUNDOG_START": start, "TMPDIR": "/tmp"}) for start in STARTS
    )
    assert compiled.stdout == python.stdout
    assert compiled.stderr == python.stderr == ""


def test_a_writable_one(run: Runner) -> None:
    script = "echo x >>/etc/new; cat /etc/new; rm /etc/d -r; mv /bin /moved; /moved/ls /etc"
    shown = run("-W", "mixed", "--", "sh", "-c", script).stdout
    assert shown.startswith("new\nx\n")
    assert "\nd\n" not in shown


def test_binds_and_groups(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    bind = ("-b", f"{tmp_path}:/mnt/0")
    assert run(*bind, "mixed", "--", "cat", "/mnt/0/file").stdout == "of the host\n"
    tag = f"--join-tag={tmp_path.name}-{os.getpid()}"
    assert run(tag, "mixed", "--", "cat", "/etc/new").stdout == "new\n"


def test_owners_under_notify(run: Runner) -> None:
    script = "stat -c %u:%g /etc/new; chown 7:8 /bin/busybox; stat -c %u:%g /bin/busybox"
    assert run("--notify", "mixed", "--", "sh", "-c", script).stdout.startswith("5:6\n")
    shown = run("--notify", "-W", "mixed", "--", "sh", "-c", script).stdout
    assert shown == "5:6\n7:8\n"


@pytest.mark.parametrize("name", ["out.tar", "out.sqfs", "out.oci.tar"])
def test_it_is_converted_as_one_of_trees(made: Path, tmp_path: Path, name: str) -> None:
    copy_storage(made, tmp_path / "storage")
    runner("ch-image", tmp_path / "storage")("tag", "plain", "bb")
    found = []
    for storage in (made, tmp_path / "storage"):
        output = tmp_path / storage.parent.name / name
        output.parent.mkdir()
        runner("ch-convert", storage)("bb", output, env={"SOURCE_DATE_EPOCH": "1700000000"})
        found.append(sha256(output.read_bytes()).hexdigest())
    assert found[0] == found[1]


def test_its_layers_leave_as_those_of_trees(made: Path, tmp_path: Path) -> None:
    image = runner("ch-image", made)
    layers = []
    for name in ("plain", "bb"):
        image("save", "--format=oci-dir", "-o", tmp_path / name, name)
        index = json.loads((tmp_path / name / "index.json").read_text())
        digest = index["manifests"][0]["digest"].partition(":")[2]
        manifest = json.loads((tmp_path / name / "blobs/sha256" / digest).read_text())
        layers.append(manifest["layers"])
    assert layers[0] == layers[1]


def test_it_is_pushed_as_one_of_trees(made: Path, tmp_path: Path, flavours: Flavours) -> None:
    """Each from a storage of its own, so that none leaves as the other has."""
    layers, place = [], f"{flavours.http}/packed"
    for name in ("plain", "bb"):
        copy_storage(made, tmp_path / name)
        runner("ch-image", tmp_path / name)("push", name, f"{place}/{name}")
        path = f"http://{flavours.http}/v2/packed/{name}/manifests/latest"
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        with urlopen(Request(path, headers=accept)) as answer:
            layers.append(json.load(answer)["layers"])
    assert layers[0] == layers[1]
    digest = layers[1][-1]["digest"]
    with (
        urlopen(f"http://{flavours.http}/v2/packed/bb/blobs/{digest}") as answer,
        tarfile.open(fileobj=answer, mode="r|*") as tar,
    ):
        owners = {member.name: (member.uid, member.gid, member.mode) for member in tar}
    assert owners["etc/d/1"] == (7, 8, 0o4755)


def test_both_drivers_build_on_it(made: Path, tmp_path: Path) -> None:
    copy_storage(made, tmp_path / "storage")
    image = runner("ch-image", tmp_path / "storage")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    image("build", "--no-cache", "-t", "copied", tmp_path, env={"CH_IMAGE_DRIVER": "copy"})
    shown = runner("ch-run", tmp_path / "storage")("copied", "--", "cat", "/etc/new", "/copied")
    assert shown.stdout.startswith("new\nroot:")


def test_unpacked_it_is_what_it_was(made: Path, tmp_path: Path) -> None:
    """The build cache knows it again, and there is nothing of its files."""
    storage = tmp_path / "storage"
    copy_storage(made, storage)
    image = runner("ch-image", storage)
    image("delete", "bb", "mixed", "plain")
    (tmp_path / "Dockerfile").write_text("FROM base\nRUN echo new >/etc/new\n")
    image("build", "-t", "new", tmp_path)
    before = image("inspect", "base", "new").stdout
    trees = {layer["layer"] for each in json.loads(before) for layer in each["layers"]}
    image("pack", "base", "new")
    assert trees - set(os.listdir(storage / "layers"))
    assert image("unpack", "base", "new").stderr.splitlines()[1:] == [
        "unpacked base: 1 of 1 layers",
        "unpacked new: 2 of 2 layers",
    ]
    assert image("inspect", "base", "new").stdout == before
    assert [*(storage / "layers").glob("*/file")] == []
    again = image("build", "-t", "new", tmp_path).stderr.splitlines()
    assert "  2* RUN.S echo new >/etc/new" in again
    assert image("unpack", "base").stderr == "unpacked base: 0 of 1 layers\n"


def test_it_needs_few_files(made: Path) -> None:
    layers = [entry for entry in (made / "layers").iterdir() if (entry / "file").exists()]
    assert len(layers) == 2
    names = {"file", "index", "layer.json", "links", "owners", "tree", "users"}
    assert all(set(os.listdir(layer)) == names for layer in layers)
    assert os.listdir(made / "shown") == []


@pytest.fixture
def damaged(made: Path, tmp_path: Path) -> tuple[Path, Runner]:
    """Return a copy of the base's layer, and ``ch-run``."""
    copy_storage(made, tmp_path / "storage")
    (stack,) = (tmp_path / "storage" / "images").glob("*%bb+latest/stack")
    layer = stack.read_bytes().split(b"\0")[6].decode()  # the lowest
    return tmp_path / "storage" / "layers" / layer, runner("ch-run", tmp_path / "storage")


@pytest.mark.parametrize(
    ("name", "size"),
    [*(("index", size) for size in (0, 40, 90, -1)), ("file", 0), ("file", 40), ("file", -5000)],
)
def test_a_damaged_layer_is_one_line(damaged: tuple[Path, Runner], name: str, size: int) -> None:
    layer, run = damaged
    path = layer / name
    os.truncate(path, path.stat().st_size + size if size < 0 else size)
    done = run("bb", check=False, timeout=60)
    assert done.returncode == EXIT_RUN
    error, hint = done.stderr.splitlines()
    assert f"can't read layer {layer.name} of " in error
    assert error.endswith(": Input/output error")
    assert "hint: a file there is damaged: delete the image" in hint


def test_nothing_but_contents_comes_from_the_file(damaged: tuple[Path, Runner]) -> None:
    """The file is that of a stranger: with other names, a whiteout and an overlay's marks."""
    layer, run = damaged
    before = run("bb", "--", "find", "/", "-xdev").stdout
    tree = layer.parent / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "passwd").write_text("other contents")
    whiteout = ("-p", "bin c 0755 0 0 0 0", "-p", "etc x user.overlay.opaque=y")
    size = (layer / "file").stat().st_size  # another one is an error at once
    (layer / "file").unlink()
    run_program(["mksquashfs", tree, layer / "file", "-quiet", "-no-progress", *whiteout])
    os.truncate(layer / "file", size)
    done = run("bb", "--", "ls", "/etc", check=False)
    assert done.returncode != 0  # the programs are gone
    bind = ("-b", "/usr/bin:/mnt/0")
    busybox = "/mnt/0/busybox"
    assert run(*bind, "bb", "--", busybox, "find", "/", "-xdev").stdout == before
    done = run(*bind, "bb", "--", busybox, "cat", "/bin/busybox", check=False)
    assert "Input/output error" in done.stderr
    assert run(*bind, "bb", "--", busybox, "cat", "/etc/motd").stdout == "motd\n"


@pytest.mark.parametrize("claim", ["", "../../tmp", "0" * 20, "\ud800"])
def test_what_another_store_says_is_not_believed(damaged: tuple[Path, Runner], claim: str) -> None:
    """Such a layer names the tree of which it was made; it may name that of another layer."""
    layer, run = damaged
    image = runner("ch-image", layer.parents[1])
    info = json.loads((layer / "layer.json").read_text())
    (layer / "layer.json").write_text(json.dumps(info | {"packed": claim}))
    before = sorted(run("bb", "--", "find", "/", "-xdev").stdout.splitlines())
    image("unpack", "bb")
    assert sorted(run("bb", "--", "find", "/", "-xdev").stdout.splitlines()) == before
    found = json.loads(image("inspect", "bb").stdout)[0]["layers"]
    assert found[0]["layer"] not in (layer.name, info["packed"], claim)


def test_a_damaged_file_is_not_unpacked(damaged: tuple[Path, Runner]) -> None:
    layer, _ = damaged
    image = runner("ch-image", layer.parents[1])
    image("delete", "base", "plain", "mixed")  # they have the tree
    file = bytearray((layer / "file").read_bytes())
    file[200:-5000] = bytes(len(file) - 5200)
    (layer / "file").write_bytes(file)
    before = image("inspect", "bb").stdout
    done = image("unpack", "bb", check=False)
    assert done.returncode == EXIT_ERROR
    assert "error: input/output error on " in done.stderr
    assert image("inspect", "bb").stdout == before
