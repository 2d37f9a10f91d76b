"""`push --first`: what a start reads is in front, and comes first by few requests."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tarfile
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

import sundog as sundog_api
from sundog.base.record.chunk_table import LANDMARK, NO_LANDMARK
from sundog.base.record.start_record import pack_start, unpack_start
from sundog.errors import UsageError
from sundog.image.layer.blob_check import check_blob_layer
from sundog.image.layer.blob_tables import table_digest
from tests.conftest import runner
from tests.image.convert.blobs import layers_of
from tests.image.registry.layer_servers import end, subreaper
from tests.image.registry.many_files import FILES, READ, SIZE, many_files
from tests.image.registry.test_lazy_images import Lazy
from tests.image.seen import DEVICES, LOOKS, STEPS, differences_when_lazy, seen

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed, Runner
    from tests.image.registry.servers import InProcessRegistry

__all__ = ["subreaper"]

pytestmark = pytest.mark.usefixtures("fuse")

LITTLE = 2 << 20  # bytes: more than the program
PATHS = "\n".join(["/bin/busybox", *READ])
PUSH = ("push", "--compression=estargz")
KINDS = {LANDMARK.decode(), NO_LANDMARK.decode()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """Return a storage directory with the image ``app``, of a few programs and many files."""
    place = tmp_path_factory.mktemp("first")
    tar = many_files(place, busybox_tar)
    runner("ch-image", place / "storage")("import", tar, "app")
    return place / "storage"


@pytest.fixture
def lazy(
    made: Path, in_process: InProcessRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Lazy:
    """Return a new storage directory, and a registry that has the image in the usual order."""
    monkeypatch.setenv("CH_RUN_LAZY", "ondemand")
    lazy = Lazy(in_process, tmp_path / "storage")
    runner("ch-image", made)(*PUSH, "app", lazy.name)
    lazy.image("pull", "--lazy", lazy.name)
    lazy.sent.clear()
    return lazy


def fresh(lazy: Lazy, tag: str) -> Lazy:
    """Return another storage directory, with what ``tag`` names."""
    other = Lazy(lazy.registry, lazy.storage.with_name(f"fresh-{tag}"))
    other.name += f":{tag}"
    other.image("pull", "--lazy", other.name)
    other.sent.clear()
    return other


def read(lazy: Lazy) -> str:
    """Run what reads the files; return what it prints."""
    printed = lazy.run("sha256sum", *READ)
    end()
    return printed


def order(registry: InProcessRegistry, tag: str) -> list[str]:
    """Return the names in the only layer of an image, in order."""
    manifest = json.loads(registry.manifests["r", tag][1])
    (layer,) = manifest["layers"]
    with tarfile.open(fileobj=BytesIO(registry.blobs["r", layer["digest"]])) as tar:
        return tar.getnames()


def front(lazy: Lazy, tag: str) -> list[str]:
    """Return the paths in front of the landmark of an image of one layer."""
    names = order(lazy.registry, tag)
    return [f"/{name}" for name in names[: names.index(LANDMARK.decode())]]


@pytest.mark.usefixtures("subreaper")
def test_few_requests(lazy: Lazy, made: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(PATHS)
    words = (*PUSH, f"--first={tmp_path}/list", "app", f"{lazy.name}:first")
    told = runner("ch-image", made)(*words).stderr
    assert f"first:           {len(READ) + 1} files in 1 layers" in told
    printed = read(lazy)
    other = fresh(lazy, "first")
    assert read(other) == printed
    assert len(lazy.sent) > 6
    assert len(other.sent) <= len(lazy.sent) / 3
    assert other.moved <= 1.2 * lazy.moved
    paths = front(lazy, "first")
    assert [path for path in paths if path in READ] == READ
    assert not {f"/f{number:02}" for number in range(FILES)} & {*paths} - {*READ}
    # A record of the same command tells more than the landmark.
    moved = []
    for _ in range(2):
        other.again()
        other.run("true")
        end()
        moved.append(other.moved)
    assert moved[0] > len(READ) * SIZE
    assert moved[1] < LITTLE
    # The next push sends nothing.
    lazy.registry.requests.clear()
    runner("ch-image", made)(*words)
    assert lazy.registry.count(r"(POST|PATCH|PUT) .*blobs.*") == 0


@pytest.mark.usefixtures("subreaper")
@pytest.mark.parametrize("is_complete", [False, True])
@pytest.mark.parametrize("source", ["record", "kept"])
def test_from_a_record(lazy: Lazy, tmp_path: Path, source: str, is_complete: bool) -> None:
    if source == "kept":
        printed = read(lazy)
    else:
        run, source = runner("ch-run", lazy.storage), f"{tmp_path}/record"
        printed = run(f"--record={source}", lazy.name, "--", "sha256sum", *READ).stdout
        end()
    count = len(lazy.sent)
    if is_complete:
        lazy.image("pull", lazy.name)
    lazy.image(*PUSH, f"--first={source}", lazy.name, f"{lazy.name}:second")
    assert lazy.incomplete == 0  # what leaves in another tar was checked
    other = fresh(lazy, "second")
    assert read(other) == printed
    assert len(other.sent) <= count / 3
    paths = front(lazy, "second")
    assert {*READ} <= {*paths}
    # A record has blocks, so a neighbour may be among them; but not all is.
    assert len([path for path in paths if path.startswith("/f")]) < 35


@pytest.mark.usefixtures("subreaper")
@pytest.mark.parametrize("form", ["gzip", "zstd:chunked"])
def test_from_a_record_of_another_form(lazy: Lazy, made: Path, tmp_path: Path, form: str) -> None:
    name, record, wanted = f"{lazy.name}:other", f"{tmp_path}/record", READ[:4]
    runner("ch-image", made)("push", f"--compression={form}", "app", name)
    if form == "gzip":
        lazy.image("index", name)
    lazy.image("pull", "--lazy", name)
    run = runner("ch-run", lazy.storage)
    printed = run(f"--record={record}", name, "--", "sha256sum", *wanted).stdout
    end()
    lazy.image(*PUSH, f"--first={record}", name, f"{lazy.name}:second")
    end()
    paths = {*front(lazy, "second")}
    assert {*wanted} <= paths
    assert not {*READ[6:]} & paths
    other = fresh(lazy, "second")
    assert other.run("sha256sum", *wanted) == printed
    end()
    assert len(other.sent) <= 2


@pytest.mark.usefixtures("subreaper")
@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.REGTYPE])
def test_what_is_no_landmark(
    *,
    busybox_tar: Path,
    in_process: InProcessRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: bytes,
) -> None:
    """What is read comes as ever."""
    monkeypatch.setenv("CH_RUN_LAZY", "ondemand")
    tar = tmp_path / "layer.tar"
    shutil.copy(busybox_tar, tar)
    with tarfile.open(tar, "a") as out:
        landmark = tarfile.TarInfo(LANDMARK.decode())
        landmark.type, landmark.linkname, landmark.mode = kind, "noise", 0o755
        noise = tarfile.TarInfo("noise")
        noise.size = 2 * LITTLE
        out.addfile(noise, BytesIO(random.Random(7).randbytes(noise.size)))
        out.addfile(landmark)
    lazy = Lazy(in_process, tmp_path / "storage")
    image = runner("ch-image", tmp_path / "made")
    image("import", tar, "app")
    image(*PUSH, "app", lazy.name)
    lazy.image("pull", "--lazy", lazy.name)
    lazy.sent.clear()
    assert "noise" in lazy.run("ls", "/")
    end()
    assert lazy.moved < LITTLE


def names_of(layer: Path) -> list[str]:
    """Return the names in a layer, in order."""
    with tarfile.open(layer) as tar:
        return [name.removeprefix("./") for name in tar.getnames()]


def test_the_tree_is_the_same(
    *, tmp_path: Path, busybox_tar: Path, run_ch_image: Runner, registry: str, storage: Path
) -> None:
    """Whether it is pulled here or elsewhere, at once or lazily, and unpacked in order."""
    run_ch_image("import", busybox_tar, "base")
    (tmp_path / "Dockerfile").write_text(STEPS + DEVICES)
    run_ch_image("build", "--force=notify", "-t", "img", tmp_path)
    lines = ["/noise", "d/again", "./d/b", "/bin/busybox", "/no", "../a", "d", "/d/c"]
    (tmp_path / "list").write_text("\n".join(lines))
    target = f"{registry}/first:1"
    words = (*PUSH, f"--first={tmp_path}/list", "img", target)
    told = run_ch_image(*words).stderr
    assert "warning: --first: 2 of 8 paths in" in told
    before = [seen(storage, "img", *options) for options in LOOKS]
    assert differences_when_lazy(target, tmp_path, times=False) == []
    for own, look in zip(before, LOOKS, strict=True):
        tree = seen(tmp_path / "whole", target, *look)
        assert {name for name in tree if name not in own} == {*KINDS, "stargz.index.json"}
        assert {name: about for name, about in tree.items() if name in own} == own
    line = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{target}"]
    subprocess.run([*line, f"oci:{tmp_path}/o:i"], check=True)
    layers = layers_of(tmp_path / "o")
    line = ["skopeo", "inspect", "--config", f"oci:{tmp_path}/o:i"]
    config = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
    marks = []
    for (layer, blob), diff_id in zip(layers, config["rootfs"]["diff_ids"], strict=True):
        assert table_digest(layer)
        check_blob_layer(bytes(blob), layer, diff_id)
        names = names_of(blob)
        assert len(names) == len({*names})
        marks += [name for name in names if name in KINDS]
    yes, no = LANDMARK.decode(), NO_LANDMARK.decode()
    assert len(marks) == len(layers)
    assert (marks[0], marks[-1]) == (yes, no)  # the last one has devices only
    # What was pulled and has such files is made again, without the marks that it came with.
    other = runner("ch-image", tmp_path / "whole")
    (tmp_path / "list").write_text("/a")
    other(*PUSH, f"--first={tmp_path}/list", target, f"{registry}/first:2")
    line = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{registry}/first:2"]
    subprocess.run([*line, f"oci:{tmp_path}/p:i"], check=True)
    again = layers_of(tmp_path / "p")
    (made,) = {layer.digest for layer, _ in again} - {layer.digest for layer, _ in layers}
    (names,) = (names_of(blob) for layer, blob in again if layer.digest == made)
    assert names.index("a") < names.index(yes)
    assert names.count("stargz.index.json") == names.count(yes) == 1
    assert no not in names


def test_of_several_platforms(
    made: Path, in_process: InProcessRegistry, tmp_path: Path, busybox_tar: Path
) -> None:
    """Each gets what the list has of it."""
    storage, own = tmp_path / "storage", tmp_path / "own"
    shutil.copytree(made, storage, symlinks=True)
    image = runner("ch-image", storage)
    own.mkdir()
    for name in ("own", "f01"):
        (own / name).write_text(name)
    image("import", "-a", "riscv64", own, "app")
    image("import", "-a", "s390x", busybox_tar, "app")
    (tmp_path / "list").write_text("/f03\n/own\n/f01\n")
    words = (*PUSH, f"--first={tmp_path}/list", "app", f"{in_process.host}/r")
    told = image(*words).stderr
    assert "first:           4 files in 2 layers" in told
    warned = {line for line in told.splitlines() if line.startswith("warning: --first")}
    assert warned == {f"warning: --first: {tmp_path}/list has nothing of app for linux/s390x"}
    index = json.loads(in_process.manifests["r", "latest"][1])
    fronts = {}
    for entry in index["manifests"]:
        names = [name for name in order(in_process, entry["digest"]) if name != "."]
        (mark,) = (names.index(kind) for kind in KINDS if kind in names)
        fronts[entry["platform"]["architecture"]] = names[:mark], names[mark]
    assert fronts.pop("riscv64") == (["own", "f01"], LANDMARK.decode())
    assert fronts.pop("s390x")[1] == NO_LANDMARK.decode()
    assert [*fronts.values()] == [(["f03", "f01"], LANDMARK.decode())]
    # A list that only another platform has.
    (tmp_path / "list").write_text("/own")
    done = image(*words[:-2], "-a", "s390x", *words[-2:], check=False)
    assert f"{tmp_path}/list has nothing of app" in refused(done)


@pytest.mark.usefixtures("subreaper")
def test_by_sundog_and_the_api(lazy: Lazy, made: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("/f03\n/f01\n")
    push = ("push", "--compression-format=estargz")
    sundog = runner("sundog", made)
    sundog(*push, f"--first={tmp_path}/list", "app", f"{lazy.name}:sundog")
    estargz = partial(sundog_api.push, compression="estargz")
    estargz("app", f"{lazy.name}:api", first=tmp_path / "list", storage=made)
    for tag in ("sundog", "api"):
        assert front(lazy, tag)[-2:] == ["/f03", "/f01"]
    done = sundog("push", "--first=kept", "app", "localhost:1/r", check=False)
    assert "hint: --compression-format=estargz" in done.stderr
    assert "--first: only eStargz has a mark" in refused(done)
    with pytest.raises(UsageError, match="first: only eStargz has a mark"):
        sundog_api.push("app", "localhost:1/r", first=tmp_path / "list", storage=made)
    # A path of that name is a file.
    with pytest.raises(UsageError, match=r"can't read .*/kept: No such file"):
        estargz("app", f"{lazy.name}:no", first=tmp_path / "kept", storage=made)
    read(lazy)
    estargz(lazy.name, f"{lazy.name}:kept", first="kept", storage=lazy.storage)
    assert {*READ} <= {*front(lazy, "kept")}


def refused(done: Completed) -> str:
    """Return the one line of an error."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1, done.stderr
    assert "hint: " in done.stderr
    return errors[0]


LAYER = "0" * 32
WRONG = {
    "nothing": (b"", "has nothing of app"),
    "a damaged record": (b"sundog start 1\nx -1\n", "has nothing of app"),
    "a later record": (b"sundog start 2\nx 1\n", "has nothing of app"),
    "of another image": (f"sundog start 1\n{LAYER} 1-5\n".encode(), "has nothing of app"),
    "no such paths": (b"/no\n/no/such\n/f01/x\n/bin/sh/x\n" + b"x" * 300, "has nothing of app"),
    "paths that lead out": (b"../f01\n/../../f01\n/a/../f01\n", "has nothing of app"),
    "no text": (bytes(range(256)) * 40 + b"\n" + b"/" * 5000, "has nothing of app"),
    "many paths": (b"".join(b"/%d\n" % n for n in range(200_000)), "has more than 100,000 paths"),
    "large": (b"/f01\n" * (4 << 20), "has more than 16 MiB"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_lists_nothing(
    wrong: str, made: Path, in_process: InProcessRegistry, tmp_path: Path
) -> None:
    data, why = WRONG[wrong]
    (tmp_path / "list").write_bytes(data)
    words = (*PUSH, f"--first={tmp_path}/list", "app", f"{in_process.host}/r")
    done = runner("ch-image", made)(*words, check=False)
    assert f"--first: {tmp_path}/list {why}" in refused(done)
    assert not in_process.blobs


def test_what_is_wrong_is_counted(
    made: Path, in_process: InProcessRegistry, tmp_path: Path
) -> None:
    lines = [b"../f02", b"/", b"/f01", b"/f01", b"f\xff", b"/f02/x", b"./f03", b"f\0", b"/f04\r"]
    (tmp_path / "list").write_bytes(b"\n".join(lines))
    words = (*PUSH, f"--first={tmp_path}/list", "app", f"{in_process.host}/r")
    told = runner("ch-image", made)(*words).stderr
    assert f"--first: 6 of 8 paths in {tmp_path}/list are not in the image" in told
    assert "2 files in 1 layers" in told


@pytest.mark.usefixtures("subreaper")
def test_a_record_of_more_than_the_image_has(lazy: Lazy, tmp_path: Path) -> None:
    read(lazy)
    (kept,) = lazy.storage.glob("starts/*")
    start = unpack_start(kept.read_bytes())
    (layer,) = start
    far = [1 << 32, *start[layer]]
    (tmp_path / "record").write_bytes(pack_start({layer: far, LAYER.encode(): [1]}))
    told = lazy.image(*PUSH, f"--first={tmp_path}/record", lazy.name, f"{lazy.name}:2").stderr
    assert f"--first: 1 of 2 layers in {tmp_path}/record are not in the image" in told
    assert LANDMARK.decode() in order(lazy.registry, "2")
    # Records of another image, and what is no record, do not count among the kept ones.
    kept.write_bytes(pack_start({**start, LAYER.encode(): [1]}))
    os.mkfifo(kept.with_name("fifo"))
    kept.with_name("link").symlink_to(tmp_path / "record")
    words = (*PUSH, "--first=kept", lazy.name, f"{lazy.name}:3")
    done = lazy.image(*words, check=False)
    assert f"the records in storage have nothing of {lazy.name}" in refused(done)
    end()


def test_an_image_that_stays_in_a_layout(lazy: Lazy, made: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    image = runner("ch-image", made)
    image("save", "--compression=estargz", "--format=oci-dir", "-o", layout, "app")
    assert runner("ch-run", lazy.storage)("--lazy", f"oci:{layout}", "--", "true").stdout == ""
    (line,) = (line for line in lazy.image("list", "-l").stdout.splitlines() if "in place" in line)
    (tmp_path / "list").write_text(READ[0])
    words = (*PUSH, f"--first={tmp_path}/list", line.split()[0], f"{lazy.name}:2")
    done = lazy.image(*words, check=False)
    assert f"stays in {layout}, and was not checked" in refused(done)
    assert f"hint: put the image into storage: ch-image load {layout}" in done.stderr


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none", "zstd:chunked"])
def test_other_compressions(made: Path, compression: str) -> None:
    words = ("push", f"--compression={compression}", "--first=kept", "app", "localhost:1/r")
    done = runner("ch-image", made)(*words, check=False)
    assert "--first: only eStargz has a mark for what comes first" in refused(done)
    assert "hint: --compression=estargz" in done.stderr


def test_a_file_that_is_not_there(made: Path, tmp_path: Path) -> None:
    for place, why in {tmp_path: "Is a directory", tmp_path / "no": "No such file"}.items():
        words = (*PUSH, f"--first={place}", "app", "localhost:1/r")
        done = runner("ch-image", made)(*words, check=False)
        assert f"--first: can't read {place}: {why}" in refused(done)
