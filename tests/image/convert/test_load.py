"""``ch-image save`` and ``load``: exchange with other tools, and damaged archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from sundog.image.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from tests.conftest import command, copy_storage, run_program, until
from tests.image.layer.archives import archive, file
from tests.image.registry.servers import InProcessRegistry
from tests.image.registry.test_push import members, skopeo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Completed, RootHelper, Runner

FORMATS = ["oci-archive", "oci-dir", "docker-archive"]
MADE = """\
FROM bb
ENV A=b
RUN echo a >/a && chown 5:6 /a && chmod 4755 /a && mkdir /d && chown 7:8 /d && chmod 2750 /d
RUN mknod /null c 1 3 && rm /bin/awk
USER 5:6
CMD ["sh"]
"""


@pytest.fixture(scope="module")
def storage_with_img(
    tmp_path_factory: pytest.TempPathFactory, storage_with_busybox: Callable[[str], Path]
) -> Path:
    """Return a storage directory with ``img``, which has owners; tests get copies."""
    place = tmp_path_factory.mktemp("img")
    storage = place / "storage"
    copy_storage(storage_with_busybox(""), storage)
    (place / "Dockerfile").write_text(MADE)
    build = [*command("ch-image"), "build", "-t", "img", "--force=notify"]
    run_program([*build, place], env={"CH_IMAGE_STORAGE": str(storage)})
    return storage


@pytest.fixture
def img(storage: Path, storage_with_img: Path) -> str:
    """Put an image with owners into the test's own storage; return its name."""
    copy_storage(storage_with_img, storage)
    return "img"


def layers(layout: Path) -> list[dict[str, tarfile.TarInfo]]:
    """Return the members of each layer of the only image in an OCI layout."""
    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads(blob(layout, index["manifests"][0]["digest"]))
    return [members(blob(layout, layer["digest"])) for layer in manifest["layers"]]


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def contents(image: str, run: Callable[..., Completed]) -> dict[str, Any]:
    """Return the part of an image's configuration that does not depend on the image's source."""
    (value,) = json.loads(run("inspect", image).stdout)
    config: dict[str, Any] = value["config"]
    del config["rootfs"]  # unknown before Sundog packs the layers
    return config


def tars(run: Callable[..., Completed], image: str, place: Path) -> list[str]:
    """Return the digests of an image's uncompressed layers."""
    run("save", "-o", place, "--format=docker-archive", image)
    with tarfile.open(place) as archive:
        (entry,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
    place.unlink()
    found: list[str] = entry["Layers"]
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_what_skopeo_reads(*, img: str, tmp_path: Path, run_ch_image: Runner, form: str) -> None:
    path = tmp_path / "saved"
    run_ch_image("save", "-o", path, "--format", form, img)
    name = {"oci-archive": "oci-archive", "oci-dir": "oci", "docker-archive": "docker-archive"}
    where = f"{name[form]}:{path}:docker.io/library/img:latest"
    seen = json.loads(skopeo("inspect", where))
    assert "A=b" in seen["Env"]
    copy = tmp_path / "copy"
    skopeo("copy", "-q", where, f"oci:{copy}:x")
    base, made, devices = layers(copy)
    assert "bin/busybox" in base
    assert (made["a"].uid, made["a"].gid, made["a"].mode) == (5, 6, 0o4755)
    assert (made["d"].uid, made["d"].gid, made["d"].mode) == (7, 8, 0o2750)
    assert (devices["null"].type, devices["null"].devminor) == (tarfile.CHRTYPE, 3)
    assert "bin/.wh.awk" in devices
    subprocess.run(["umoci", "stat", "--image", f"{copy}:x"], check=True)

    # And back, from the archive that skopeo wrote.
    before = tars(run_ch_image, img, tmp_path / "t")
    storage = {"CH_IMAGE_STORAGE": str(tmp_path / "other")}

    def other(*arguments: str | os.PathLike[str]) -> Any:
        return run_ch_image(*arguments, env=storage)

    other("load", copy, "back")
    assert contents("back", other) == contents(img, run_ch_image)
    assert tars(other, "back", tmp_path / "t") == before


@pytest.mark.parametrize("form", ["docker-archive", "oci-dir"])
def test_save_into_a_directory_behind_a_symlink(
    *, bb: str, tmp_path: Path, run_ch_image: Runner, form: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    run_ch_image("save", "-o", tmp_path / "link/saved", "--format", form, "bb")
    run_ch_image("load", tmp_path / "real/saved", "back")
    assert os.listdir(tmp_path / "real") == ["saved"]


@pytest.mark.parametrize("form", FORMATS)
def test_round_trip(*, img: str, tmp_path: Path, run_ch_image: Runner, form: str) -> None:
    before = tars(run_ch_image, img, tmp_path / "t")
    run_ch_image("save", "-o", tmp_path / "saved", "--format", form, img, "bb")
    storage = {"CH_IMAGE_STORAGE": str(tmp_path / "other")}

    def other(*arguments: str | os.PathLike[str]) -> Any:
        return run_ch_image(*arguments, env=storage)

    other("load", tmp_path / "saved")
    assert other("list").stdout.split() == ["bb:latest", "img:latest"]
    assert contents(img, other) == contents(img, run_ch_image)
    assert tars(other, img, tmp_path / "t") == before
    # The store keeps the loaded bytes, so another save gives the same bytes.
    if form == "oci-archive":
        other("save", "-o", tmp_path / "again", img, "bb")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "saved").read_bytes()


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
@pytest.mark.parametrize("compression", ["cat", "gzip", "xz", "zstd"])
def test_through_a_pipe(
    *, img: str, tmp_path: Path, run_ch_image: Runner, form: str, compression: str, storage: Path
) -> None:
    ch_image = shlex.join(command("ch-image"))
    other = tmp_path / "other"
    script = (
        f"set -eo pipefail; {ch_image} save --format {form} {img} | {compression} |"
        f"{ch_image} load --storage {other} - copy"
    )
    env = os.environ | {"CH_IMAGE_STORAGE": str(storage)}
    subprocess.run(["bash", "-c", script], env=env, check=True)
    assert run_ch_image("list", "--storage", other).stdout == "copy\n"


def docker_save(tmp_path: Path, bb: Path, *, press: bool = False) -> Path:
    """Write an archive like old versions of Docker: with directories, and links between layers."""
    layer = bb.read_bytes()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["A=b"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"] * 2,
        },
    }
    files = {
        "0123/VERSION": b"1.0",
        "0123/json": b"{}",
        "0123/layer.tar": gzip.compress(layer) if press else layer,
        "abcd.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(
            [
                {
                    "Config": "abcd.json",
                    "RepoTags": ["busybox:1", "docker.io/me/it:2"],
                    "Layers": ["0123/layer.tar", "4567/layer.tar"],
                }
            ]
        ).encode(),
        "repositories": b"{}",
    }
    path = tmp_path / "docker.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("4567/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../0123/layer.tar"
        archive.addfile(link)
    return path


@pytest.mark.parametrize("press", [False, True])
def test_what_docker_saves(
    *, tmp_path: Path, busybox_tar: Path, run_ch_image: Runner, run_ch_run: Runner, press: bool
) -> None:
    run_ch_image("load", docker_save(tmp_path, busybox_tar, press=press))
    assert run_ch_image("list").stdout.split() == ["busybox:1", "me/it:2"]
    assert run_ch_run("me/it:2", "--", "/bin/echo", "hello").stdout == "hello\n"
    before = f"{hashlib.sha256(busybox_tar.read_bytes()).hexdigest()}.tar"
    assert tars(run_ch_image, "busybox:1", tmp_path / "t") == [before] * 2


# Damaged and hostile


@pytest.fixture(scope="module")
def good_layout(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """Return an OCI layout of a good image of three layers."""
    place = tmp_path_factory.mktemp("good")
    (place / "context").mkdir()
    (place / "context/Dockerfile").write_text("FROM bb\nRUN echo >/a\nRUN echo >/b\n")
    for arguments in (
        ["import", str(busybox_tar), "bb"],
        ["build", "-t", "img", str(place / "context")],
        ["save", "-o", str(place / "layout"), "--format=oci-dir", "img"],
    ):
        env = os.environ | {"CH_IMAGE_STORAGE": str(place / "storage")}
        subprocess.run([*command("ch-image"), *arguments], env=env, check=True)
    return place / "layout"


@pytest.fixture
def layout(good_layout: Path, tmp_path: Path) -> Path:
    """Return an OCI layout of a good image, which the test damages."""
    return shutil.copytree(good_layout, tmp_path / "layout")


class Layout:
    """A layout whose documents a test can change, together with the digests that refer to them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = json.loads((path / "index.json").read_bytes())
        self.manifest = json.loads(blob(path, self.index["manifests"][0]["digest"]))
        self.config = json.loads(blob(path, self.manifest["config"]["digest"]))

    def put(self, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (self.path / "blobs/sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    def write(self) -> None:
        self.manifest["config"] |= self.put(json.dumps(self.config).encode())
        self.index["manifests"][0] |= self.put(json.dumps(self.manifest).encode())
        (self.path / "index.json").write_text(json.dumps(self.index))

    def layer(self, number: int = 0) -> Path:
        digest: str = self.manifest["layers"][number]["digest"]
        return self.path / "blobs" / digest.replace(":", "/")


def _spoil(change: Callable[[Layout], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        layout = Layout(path)
        change(layout)
        layout.write()

    return spoil


def _flip(layout: Layout) -> None:
    content = bytearray(layout.layer().read_bytes())
    content[len(content) // 2] ^= 1
    layout.layer().write_bytes(content)


def _evil_layer(name: str, link: str = "") -> Callable[[Layout], None]:
    def change(layout: Layout) -> None:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = tarfile.LNKTYPE, link
            archive.addfile(info)
        content = stream.getvalue()
        layout.manifest["layers"][0] |= layout.put(gzip.compress(content))
        layout.config["rootfs"]["diff_ids"][0] = f"sha256:{hashlib.sha256(content).hexdigest()}"

    return change


def _instead(path: Path, make: Callable[[Path], None]) -> None:
    path.rename(path.parent.parent / "out.json")
    make(path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "layout-version": (
        lambda path: (path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}'),
        "version '2.0.0' is not supported",
    ),
    "layout-not-json": (lambda path: (path / "oci-layout").write_text("<html>"), "not JSON"),
    "no-index": (lambda path: (path / "index.json").unlink(), "index.json is not there"),
    "index-not-json": (lambda path: (path / "index.json").write_text("{"), "not JSON"),
    "index-is-directory": (
        lambda path: _instead(path / "index.json", os.mkdir),
        "index.json is not a regular file",
    ),
    "index-is-fifo": (
        lambda path: _instead(path / "index.json", os.mkfifo),
        "index.json is not a regular file",
    ),
    "index-leads-out": (
        lambda path: _instead(path / "index.json", lambda it: it.symlink_to("../out.json")),
        "index.json cannot be read",
    ),
    "index-too-long": (
        lambda path: (path / "index.json").write_bytes(b" " * (5 << 20)),
        "longer than",
    ),
    "no-blobs": (lambda path: shutil.rmtree(path / "blobs"), "is not there"),
    "no-layer": (lambda path: Layout(path).layer().unlink(), "is not there"),
    "empty-index": (
        _spoil(
            lambda it: it.index.update(manifests=[dict(it.index["manifests"][0], mediaType="a/b")])
        ),
        "no image",
    ),
    "wrong-digest": (lambda path: _flip(Layout(path)), "content has digest"),
    "layer-too-short": (
        lambda path: os.truncate(Layout(path).layer(), 1000),
        "has 1000 bytes, the manifest says",
    ),
    "layer-too-long": (
        lambda path: os.truncate(Layout(path).layer(), 10 << 20),
        "has more than",
    ),
    "manifest-cut": (
        lambda path: os.truncate(
            path / "blobs" / Layout(path).index["manifests"][0]["digest"].replace(":", "/"), 50
        ),
        "has 50 bytes, the manifest says",
    ),
    "wrong-diff-id": (
        _spoil(lambda it: it.config["rootfs"]["diff_ids"].__setitem__(0, f"sha256:{'0' * 64}")),
        "the configuration says",
    ),
    "bad-diff-id": (
        _spoil(lambda it: it.config["rootfs"]["diff_ids"].__setitem__(0, "../../x")),
        "no algorithm",
    ),
    "fewer-diff-ids": (_spoil(lambda it: it.config["rootfs"]["diff_ids"].pop()), "names 2"),
    "bad-digest": (
        _spoil(lambda it: it.manifest["layers"][0].update(digest="sha256:../../../etc/passwd")),
        "hexadecimal",
    ),
    "negative-size": (_spoil(lambda it: it.manifest["layers"][0].update(size=-1)), "is not a size"),
    "unknown-layer-type": (
        _spoil(lambda it: it.manifest["layers"][0].update(mediaType="application/x-thing")),
        "type application/x-thing is not supported",
    ),
    "no-image": (
        _spoil(lambda it: it.manifest["config"].update(mediaType="application/x-chart")),
        "not an image",
    ),
    "schema-1": (_spoil(lambda it: it.manifest.update(schemaVersion=1)), "schema 1"),
    "leads-out": (_spoil(_evil_layer("../../escaped")), '".." in it'),
    "links-out": (_spoil(_evil_layer("x", "../../../etc/passwd")), '".." in it'),
    "layer-is-no-tar": (
        _spoil(lambda it: it.manifest["layers"][0].update(it.put(gzip.compress(b"x" * 2000)))),
        "not a tar archive",
    ),
}


@pytest.mark.parametrize(
    ("name", "as_archive"),
    [
        *((name, False) for name in BAD),
        *((name, True) for name in ("no-index", "index-is-fifo", "wrong-digest", "leads-out")),
    ],
)
def test_bad_layout_is_refused(
    *,
    layout: Path,
    tmp_path: Path,
    run_ch_image: Runner,
    storage: Path,
    name: str,
    as_archive: bool,
) -> None:
    spoil, complaint = BAD[name]
    spoil(layout)
    source = layout
    if as_archive:
        if name in ("index-is-directory", "index-is-fifo", "index-leads-out"):
            complaint = "index.json is not there"
        source = tmp_path / "layout.tar"
        subprocess.run(["tar", "-C", layout, "-cf", source, "."], check=True)
    done = run_ch_image("load", source, "new", check=False)
    assert done.returncode == 1, done.stderr
    error = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert complaint in error
    assert str(source) in error
    assert "\nhint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert run_ch_image("list").stdout == ""
    assert not os.listdir(storage / "layers")
    assert [entry for entry in os.listdir(storage / "tmp") if entry != "trash"] == []
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the archive is empty"),
        (b"hello" * 1000, "this is not a tar archive"),
        (b"hello\n", "this is not a tar archive"),
        (gzip.compress(b"x" * 5000, mtime=0)[:-20], "ends early"),
        (bytes(10240), "neither an OCI layout nor an archive of docker save"),
    ],
    ids=["empty", "text", "short text", "cut", "tar of nothing"],
)
def test_what_is_no_archive(
    *, tmp_path: Path, run_ch_image: Runner, content: bytes, complaint: str
) -> None:
    path = tmp_path / "archive"
    path.write_bytes(content)
    done = run_ch_image("load", path, check=False)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_archive_that_is_cut(
    *, img: str, tmp_path: Path, run_ch_image: Runner, form: str, where: float
) -> None:
    path = tmp_path / "archive"
    run_ch_image("save", "-o", path, "--format", form, img)
    os.truncate(path, int(path.stat().st_size * where))
    done = run_ch_image("load", path, "new", check=False)
    assert done.returncode == 1
    assert f"error: can't load {path}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "new" not in run_ch_image("list").stdout.split()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{}", "expected a list"),
        ("[1]", "expected an object"),
        ('[{"Config": "nosuch"}]', "nosuch is not there"),
        ('[{"Config": "../../../etc/passwd"}]', "etc/passwd is not there"),
        ('[{"Config": "c", "Layers": []}]', "names 0 layers, the configuration 1"),
        ('[{"Config": "c", "Layers": ["nosuch"]}]', "nosuch is not there"),
        ('[{"Config": "c", "Layers": ["loop"]}]', "loop is not there"),
        ('[{"Config": "c", "Layers": ["out"]}]', "out is not there"),
        ('[{"Config": "c", "Layers": ["c"]}]', "unpacked: content has digest"),
        ('[{"Config": "c", "Layers": ["c"], "RepoTags": ["UPPER"]}]', "UPPER"),
        ("[]", "it contains no image"),
    ],
)
def test_bad_docker_archive(
    *, tmp_path: Path, run_ch_image: Runner, text: str, complaint: str
) -> None:
    config = {"architecture": "amd64", "rootfs": {"diff_ids": [f"sha256:{'0' * 64}"]}}
    path = tmp_path / "archive"
    with tarfile.open(path, "w") as archive:
        for name, content in (("c", json.dumps(config)), ("manifest.json", text)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
        for name, target in (("loop", "loop"), ("out", "../../../etc/passwd")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    done = run_ch_image("load", path, "new", check=False)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert run_ch_image("list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["load", "/nosuch"], "can't load /nosuch: no such file or directory"),
        (["save", "nosuch"], "not in storage: nosuch"),
        (["save", "-o", "/nosuch/x", "img"], "can't write /nosuch/x: no such file or directory"),
        (["save", "-o", "/", "img"], "/ is a directory"),
        (["save", "--format=oci-dir", "-o", "/", "img"], "/ exists and is not an empty directory"),
        (["save", "--format=oci-dir", "img"], "needs a directory to write to"),
    ],
)
def test_mistake(*, img: str, run_ch_image: Runner, arguments: list[str], complaint: str) -> None:
    done = run_ch_image(*arguments, check=False)
    assert done.returncode in (1, 2)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_names(*, img: str, tmp_path: Path, run_ch_image: Runner) -> None:
    run_ch_image("save", "-o", tmp_path / "two", img, "bb")
    done = run_ch_image("load", tmp_path / "two", "one", check=False)
    assert done.returncode == 2
    assert "holds 2 images" in done.stderr
    layout = tmp_path / "layout"
    skopeo("copy", "-q", f"oci-archive:{tmp_path}/two:docker.io/library/bb:latest", f"oci:{layout}")
    done = run_ch_image("load", layout, check=False)
    assert done.returncode == 2
    assert "does not name its image" in done.stderr
    assert f"hint: ch-image load {layout} NAME" in done.stderr


def test_interrupted_save_leaves_what_was_there(
    *, img: str, tmp_path: Path, run_ch_image: Runner, storage: Path
) -> None:
    path = tmp_path / "saved"
    path.write_text("old")
    for layer in (storage / "layers").iterdir():
        shutil.rmtree(layer / "tree")
    done = run_ch_image("save", "-o", path, img, check=False)
    assert done.returncode == 1
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir() if "part" in entry.name] == []


# VFS_CAP_REVISION_2 and the effective bit; CAP_NET_RAW (1 << 13) permitted.
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive", "registry"])
def test_what_real_root_gets_from_podman(
    *,
    tmp_path: Path,
    busybox_tar: Path,
    run_ch_image: Runner,
    root_helper: RootHelper,
    form: str,
) -> None:
    base = tmp_path / "base.tar"
    shutil.copy(busybox_tar, base)
    with tarfile.open(base, "a") as archive:
        info = tarfile.TarInfo("bin/ping-like")
        info.mode = 0o755
        info.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}
        archive.addfile(info)
    run_ch_image("import", base, "bb")
    (tmp_path / "Dockerfile").write_text(MADE)
    run_ch_image("build", "-t", "img", "--force=notify", tmp_path)
    with InProcessRegistry().serve() as registry:
        if form == "registry":
            run_ch_image("push", "img", f"{registry.host}/img:1")
            source = f"docker://{registry.host}/img:1"
        else:
            source = str(tmp_path / "saved")
            run_ch_image("save", "-o", source, "--format", form, "img")
        paths = ["a", "d", "null", "bin/ping-like"]
        answer = root_helper.ask("take-with-podman", source=source, paths=paths)
    assert answer["found"] == {
        "a": [stat.S_IFREG | 0o4755, 5, 6, 0, ""],
        "d": [stat.S_IFDIR | 0o2750, 7, 8, 0, ""],
        "null": [stat.S_IFCHR | 0o644, 0, 0, os.makedev(1, 3), ""],
        "bin/ping-like": [stat.S_IFREG | 0o755, 0, 0, 0, CAPABILITY.hex()],
    }


def test_equal_layers_end_soon(storage: Path, tmp_path: Path, run_ch_image: Runner) -> None:
    """One small blob may stand for 1,000 layers: SIGTERM ends their work."""
    # It hides a file, so it makes another layer at each place.
    content = archive(file(".wh.gone"), *(file(f"{number}") for number in range(300))).getvalue()
    layout = tmp_path / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)

    def blob(kind: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    layer = blob(OCI_LAYER, content)
    image = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]] * 1000},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob(OCI_CONFIG, json.dumps(image).encode()),
        "layers": [layer] * 1000,
    }
    index = {"schemaVersion": 2, "manifests": [blob(OCI_MANIFEST, json.dumps(manifest).encode())]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    with subprocess.Popen(
        [*command("ch-image"), "load", layout, "many"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage), "CH_IMAGE_DRIVER": "copy"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as loading:
        until(lambda: len(list(storage.glob("tmp/*/*/tree/299"))) > 0, "no layer is unpacked")
        assert loading.poll() is None
        started = time.monotonic()
        loading.send_signal(signal.SIGTERM)
        loading.communicate(timeout=60)
    assert time.monotonic() - started < 30  # all layers take longer
    assert loading.returncode == -signal.SIGTERM
    assert run_ch_image("list").stdout == ""
