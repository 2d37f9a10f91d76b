"""``ch-image push``: what others find in the registry afterwards, and what it sent."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from sundog.base.record.chunk_table import LANDMARK, NO_LANDMARK
from sundog.image.layer.blob_check import check_blob_layer
from sundog.image.layer.blob_tables import table_digest
from tests.conftest import command
from tests.image.convert.blobs import layers_of
from tests.image.convert.formats import CAPABILITY
from tests.image.registry.servers import InProcessRegistry, Refuse
from tests.image.seen import OF_ONE, STEPS, tree_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Completed, RootHelper, Runner

UPLOADS = r"(POST|PATCH|PUT) .*blobs.*"
NOTHING = {"HOME": "/nonexistent", "CH_IMAGE_AUTH": ""}


def push(
    run: Runner, *arguments: str, check: bool = True, env: Mapping[str, str] = NOTHING
) -> Completed:
    return run("push", *arguments, check=check, env={**NOTHING, **env})


def build(run: Runner, directory: Path, dockerfile: str, tag: str, *options: str) -> None:
    path = directory / "Dockerfile"
    path.write_text(dockerfile)
    run("build", "-t", tag, "-f", path, *options, directory)


def manifest_of(registry: InProcessRegistry, repository: str, tag: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(registry.manifests[repository, tag][1])
    return value


def layer_of(registry: InProcessRegistry, repository: str, tag: str, number: int = -1) -> bytes:
    digest = manifest_of(registry, repository, tag)["layers"][number]["digest"]
    return registry.blobs[repository, digest]


def members(layer: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        return {member.name.strip("/"): member for member in archive}


def skopeo(*arguments: str | Path) -> str:
    env = os.environ | {"XDG_RUNTIME_DIR": "/nonexistent"}  # skopeo looks for logins there
    done = subprocess.run(
        ["skopeo", *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


MADE = """\
FROM bb
ENV A=b C="d e"
WORKDIR /w
LABEL key=value
RUN echo a >/a && chown 5:6 /a && chmod 4755 /a && mkdir /d && chown 7:8 /d && chmod 2750 /d
RUN mknod /null c 1 3 && chmod 666 /null && rm /bin/awk
USER 5:6
ENTRYPOINT ["/bin/busybox"]
CMD ["sh"]
"""


def test_built_image_in_the_eyes_of_skopeo_and_umoci(
    *, bb: str, tmp_path: Path, run_ch_image: Runner, registry: str
) -> None:
    build(run_ch_image, tmp_path, MADE, "img", "--force=notify")
    destination = f"{registry}/made/img:1"
    digest = push(run_ch_image, "img", destination).stdout.strip()
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{destination}"))
    assert seen["Digest"] == digest
    assert seen["Labels"] == {"key": "value"}
    assert set(seen["Env"]) >= {"A=b", "C=d e"}
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{destination}", f"oci:{tmp_path}/o:i")
    stat = json.loads(
        subprocess.run(
            ["umoci", "stat", "--image", f"{tmp_path}/o:i", "--json"],
            capture_output=True,
            check=True,
        ).stdout
    )
    for entry in stat["history"]:
        makes_layer = entry["created_by"].startswith(("ch-image import", "RUN", "WORKDIR"))
        assert entry.get("empty_layer", False) != makes_layer, entry
    manifest = json.loads(_blob(tmp_path / "o", digest))
    config = json.loads(_blob(tmp_path / "o", manifest["config"]["digest"]))
    assert config["config"]["User"] == "5:6"
    assert config["config"]["WorkingDir"] == "/w"
    assert config["config"]["Entrypoint"] == ["/bin/busybox"]
    assert config["config"]["Cmd"] == ["sh"]
    assert config["architecture"]
    layers = [_blob(tmp_path / "o", layer["digest"]) for layer in manifest["layers"]]
    assert len(layers) == 4
    made, devices = members(layers[-2]), members(layers[-1])
    assert (made["a"].uid, made["a"].gid, made["a"].mode) == (5, 6, 0o4755)
    assert (made["d"].uid, made["d"].gid, made["d"].mode) == (7, 8, 0o2750)
    assert (devices["null"].type, devices["null"].devmajor, devices["null"].devminor) == (
        tarfile.CHRTYPE,
        1,
        3,
    )
    assert "bin/.wh.awk" in devices
    assert config["rootfs"]["diff_ids"] == [
        f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}" for layer in layers
    ]


def _blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def test_what_the_registry_has_is_not_sent(
    *, bb: str, tmp_path: Path, run_ch_image: Runner, in_process: InProcessRegistry
) -> None:
    destination = f"{in_process.host}/img:1"
    first = push(run_ch_image, bb, destination)
    assert "layer 1/1: " in first.stderr
    in_process.requests.clear()
    again = push(run_ch_image, bb, destination)
    assert "already present" in again.stderr
    assert again.stdout == first.stdout
    assert in_process.count(UPLOADS) == 0

    build(run_ch_image, tmp_path, "FROM bb\nRUN echo >/new\n", "child")
    in_process.received = 0
    push(run_ch_image, "child", f"{in_process.host}/img:2")
    old, new = manifest_of(in_process, "img", "1"), manifest_of(in_process, "img", "2")
    assert new["layers"][:-1] == old["layers"]
    assert in_process.received == new["layers"][-1]["size"] + new["config"]["size"]


def test_base_layers_are_mounted(
    *, bb: str, run_ch_image: Runner, in_process: InProcessRegistry
) -> None:
    push(run_ch_image, bb, f"{in_process.host}/one:1")
    in_process.requests.clear()
    in_process.received = 0
    done = push(run_ch_image, bb, f"{in_process.host}/group/two:1")
    assert "taken from another repository" in done.stderr
    assert in_process.count(r"POST .*mount=.*&from=one") == 1
    two = manifest_of(in_process, "group/two", "1")
    assert in_process.received == two["config"]["size"]
    assert layer_of(in_process, "group/two", "1") == layer_of(in_process, "one", "1")


def test_mount_that_the_registry_refuses(
    *, bb: str, run_ch_image: Runner, in_process: InProcessRegistry
) -> None:
    push(run_ch_image, bb, f"{in_process.host}/one:1")

    def refuse(request: str) -> None:
        if "mount=" in request:
            raise Refuse(401, WWW_Authenticate="Basic")

    in_process.before = refuse
    push(run_ch_image, bb, f"{in_process.host}/two:1")
    assert layer_of(in_process, "two", "1") == layer_of(in_process, "one", "1")


def test_layers_that_were_pulled_go_back_as_they_came(
    *, tmp_path: Path, busybox_tar: Path, run_ch_image: Runner, registry: str
) -> None:
    layout = tmp_path / "layout"
    subprocess.run(["umoci", "init", "--layout", layout], check=True)
    subprocess.run(["umoci", "new", "--image", f"{layout}:i"], check=True)
    subprocess.run(["umoci", "raw", "add-layer", "--image", f"{layout}:i", busybox_tar], check=True)
    source, copy = f"{registry}/back/source:1", f"{registry}/back/copy:1"
    skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:i", f"docker://{source}")
    run_ch_image("pull", source, "i", env=NOTHING)
    # The other registry is still empty.
    with InProcessRegistry().serve() as other:
        digest = push(run_ch_image, "i", f"{other.host}/other:1").stdout.strip()
        content = manifest_of(other, "other", "1")
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{source}"))
    assert [layer["digest"] for layer in content["layers"]] == seen["Layers"]
    assert digest == seen["Digest"]  # the manifest is the same too

    build(run_ch_image, tmp_path, "FROM i\nRUN echo >/new\n", "child")
    push(run_ch_image, "child", copy)
    child = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{copy}"))
    assert child["Layers"][:-1] == seen["Layers"]


SUFFIXES = {"none": "", "zstd:chunked": "+zstd", "estargz": "+gzip"}


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none", "zstd:chunked", "estargz"])
def test_compression(
    *, bb: str, tmp_path: Path, run_ch_image: Runner, registry: str, compression: str
) -> None:
    destination = f"{registry}/compressed/{compression.replace(':', '-')}:1"
    push(run_ch_image, "--compression", compression, bb, destination)
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{destination}"))
    suffix = SUFFIXES.get(compression, f"+{compression}")
    assert seen["LayersData"][0]["MIMEType"].endswith(f".v1.tar{suffix}")
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{destination}", f"oci:{tmp_path}/o:i")
    (layer, blob), *_ = layers_of(tmp_path / "o")
    assert bool(table_digest(layer)) == (compression in ("zstd:chunked", "estargz"))
    if table_digest(layer):
        config = json.loads(skopeo("inspect", "--config", f"oci:{tmp_path}/o:i"))
        check_blob_layer(bytes(blob), layer, config["rootfs"]["diff_ids"][0])
    run_ch_image("pull", destination, "back", env=NOTHING)
    again = push(run_ch_image, "back", f"{destination}.again").stdout.strip()
    assert again == seen["Digest"]


@pytest.mark.parametrize(
    ("compression", "first"),
    [
        ("zstd:chunked", ""),
        ("estargz", ""),
        ("estargz", "/noise\n/d/again\n/d/b\n/bin/busybox\n"),
    ],
)
def test_podman_fetches_parts(
    *,
    busybox_tar: Path,
    tmp_path: Path,
    run_ch_image: Runner,
    registry: str,
    root_helper: RootHelper,
    compression: str,
    first: str,
) -> None:
    """It makes no layer of the whole blob, and has the tree that Sundog writes itself.

    No image here has devices or FIFOs: podman leaves them out then, those of its own images, too.
    """
    base, out = tmp_path / "base.tar", tmp_path / "out.tar"
    base.write_bytes(busybox_tar.read_bytes())
    with tarfile.open(base, "a") as tar:
        with_xattrs = tarfile.TarInfo("with-xattrs")
        values = {"user.a": "b", "security.capability": CAPABILITY.decode("latin-1")}
        with_xattrs.pax_headers = {f"SCHILY.xattr.{key}": text for key, text in values.items()}
        tar.addfile(with_xattrs)
    run_ch_image("import", base, "base")
    build(run_ch_image, tmp_path, STEPS, "img", "--force=notify", f"--output=type=tar,dest={out}")
    source = f"{registry}/parts/{compression.replace(':', '-')}:{len(first)}"
    words = ["--compression", compression, "img", source]
    if first:
        (tmp_path / "first").write_text(first)
        words.append(f"--first={tmp_path}/first")
    push(run_ch_image, *words)
    answer = root_helper.ask("pull-in-parts", source=source)
    (tmp_path / "podman.tar").write_bytes(base64.b64decode(answer["tar"]))
    marks = (LANDMARK.decode(), NO_LANDMARK.decode())
    assert tree_of(tmp_path / "podman.tar", hidden=(*OF_ONE, *marks)) == tree_of(out)
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{source}"))
    assert len(seen["Layers"]) == 4
    assert sorted(answer["in-parts"]) == sorted(seen["Layers"])


def test_same_image_from_another_storage(
    *, busybox_tar: Path, tmp_path: Path, run_ch_image: Runner, in_process: InProcessRegistry
) -> None:
    epoch = {"SOURCE_DATE_EPOCH": "1000000000"}
    digests = set()
    for name in ("one", "two"):
        storage = {"CH_IMAGE_STORAGE": str(tmp_path / name)}
        run_ch_image("import", busybox_tar, "bb", env=storage)
        path = tmp_path / "Dockerfile"
        path.write_text("FROM bb\nRUN echo a >/a && mkdir -p /d/e\n")
        run_ch_image("build", "-t", "img", "-f", path, tmp_path, env=storage)
        digests.add(push(run_ch_image, "img", f"{in_process.host}/x:1", env=storage | epoch).stdout)
    assert len(digests) == 1
    newest = max(member.mtime for member in members(layer_of(in_process, "x", "1")).values())
    assert newest == 1000000000
    config = manifest_of(in_process, "x", "1")["config"]["digest"]
    assert json.loads(in_process.blobs["x", config])["created"] == "2001-09-09T01:46:40Z"


def test_set_id_bits_that_nobody_vouches_for(
    *, bb: str, tmp_path: Path, run_ch_image: Runner, in_process: InProcessRegistry
) -> None:
    build(run_ch_image, tmp_path, "FROM bb\nRUN echo >/su && chmod 4755 /su\n", "img")
    for _ in range(2):
        done = push(run_ch_image, "img", f"{in_process.host}/x:1")
        assert "warning: layer 2/2: set-id bits dropped" in done.stderr
        assert ": /su\n" in done.stderr
        assert done.stderr.count("stay in layers that are built with --force=notify") == 2
    assert members(layer_of(in_process, "x", "1"))["su"].mode == 0o755


def test_the_mark_of_guessed_owners(
    *, bb: str, tmp_path: Path, run_ch_image: Runner, run_ch_run: Runner, registry: str
) -> None:
    """An annotation says which layers a RUN without records made; the layer is the same."""
    text = "FROM bb\nRUN mkdir -m 700 /own\n"
    build(run_ch_image, tmp_path, f"{text}RUN echo >/roots\n", "img", "--force=none")
    build(run_ch_image, tmp_path, "FROM img\nRUN mkdir /roots.d\n", "img", "--force=notify")
    source = f"{registry}/guessed:1"
    push(run_ch_image, "img", source)
    raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{source}"))
    marks = [layer.get("annotations") for layer in raw["layers"]]
    assert marks == [None, {"sundog.owners": "guessed"}, {"sundog.owners": "guessed"}, None]
    storage = {"CH_IMAGE_STORAGE": str(tmp_path / "other")}
    script = "for file in /own/x /roots /roots.d/x; do (echo >$file) 2>/dev/null; echo $?; done"
    line = ("-W", "--notify", "-u5", "img", "--", "sh", "-c", script)
    # Layers that are there without the mark get it, too.
    skopeo(
        *("copy", "-q", "--format=v2s2", "--src-tls-verify=false"),
        *(f"docker://{source}", f"docker-archive:{tmp_path}/plain:img:latest"),
    )
    run_ch_image("load", tmp_path / "plain", env=storage)
    assert run_ch_run(*line, env=storage).stdout.split() == ["1", "1", "1"]
    run_ch_image("pull", source, "img", env={**NOTHING, **storage})
    assert run_ch_run(*line, env=storage).stdout.split() == ["0", "0", "1"]
    push(run_ch_image, "img", f"{source}.again", env=storage)
    again = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{source}.again")
    assert [layer.get("annotations") for layer in json.loads(again)["layers"]] == marks


def test_directory(
    *, busybox_tree: Path, run_ch_image: Runner, in_process: InProcessRegistry, storage: Path
) -> None:
    (busybox_tree / "su").write_text("")
    (busybox_tree / "su").chmod(0o6755)
    for number in range(25):  # as in a project's set-group-ID directory
        (busybox_tree / f"project{number}").mkdir()
        (busybox_tree / f"project{number}").chmod(0o3775)
    (busybox_tree / "ch").mkdir()
    (busybox_tree / "ch/metadata.json").write_text('{"env": {"A": "b"}, "cwd": "/w"}')
    done, again = (
        push(run_ch_image, "--image", str(busybox_tree), f"{in_process.host}/dir:1")
        for _ in range(2)
    )
    assert done.stdout == again.stdout
    lines = [line for line in done.stderr.splitlines() if "set-id bits dropped" in line]
    warnings = list(dict.fromkeys(lines))  # the command repeats them at its end
    assert len(warnings) == 21
    assert warnings[0].endswith(": /su")
    assert warnings[-1].endswith(": 6 more")
    found = members(layer_of(in_process, "dir", "1"))
    assert found["project7"].mode == 0o1775
    assert {(member.uid, member.gid) for member in found.values()} == {(0, 0)}
    assert found["su"].mode == 0o755
    config = manifest_of(in_process, "dir", "1")["config"]["digest"]
    assert json.loads(in_process.blobs["dir", config])["config"]["Env"] == ["A=b"]
    assert os.listdir(storage / "images") == os.listdir(storage / "layers") == []
    # The imported image keeps the bits here, after changes too; elsewhere it does not.
    run_ch_image("import", busybox_tree, "dir")
    (busybox_tree / "Dockerfile").write_text(
        "FROM dir\nRUN touch /project7/x && chmod o-x /project8\n"
    )
    run_ch_image("build", "-t", "img", busybox_tree)
    done = push(run_ch_image, "img", f"{in_process.host}/img:1")
    assert "layer 2/2: set-id bits dropped, owner unknown: /project7\n" in done.stderr
    found = members(layer_of(in_process, "img", "1"))
    assert [found[name].mode for name in ("project7", "project8")] == [0o1775, 0o1774]


def test_new_token_while_it_goes_on(
    *, bb: str, run_ch_image: Runner, in_process: InProcessRegistry
) -> None:
    in_process.token = "first"

    def expire(request: str) -> None:
        if request.startswith("PUT") and in_process.token == "first":
            in_process.token = "second"
            realm = f"http://{in_process.host}/token"
            raise Refuse(401, WWW_Authenticate=f'Bearer realm="{realm}"')

    in_process.before = expire
    env = {"CH_IMAGE_USERNAME": "u", "CH_IMAGE_PASSWORD": "p"}
    push(run_ch_image, bb, f"{in_process.host}/img:1", env=env)
    assert in_process.count(r"GET /token.*scope=repository%3Aimg%3Apull%2Cpush.*") >= 2
    assert manifest_of(in_process, "img", "1")


@pytest.mark.parametrize(
    ("pattern", "status", "complaint"),
    [
        ("POST", 403, "not allowed by"),
        ("PUT /v2/img/blobs", 400, "answers with HTTP 400"),
        ("PUT /v2/img/manifests", 403, "not allowed by"),
        ("PUT /v2/img/manifests", 413, "HTTP 413"),
        ("GET /v2/", 404, "not as a registry"),
    ],
)
def test_refused(
    *,
    bb: str,
    run_ch_image: Runner,
    in_process: InProcessRegistry,
    pattern: str,
    status: int,
    complaint: str,
) -> None:
    def refuse(request: str) -> None:
        if request.startswith(pattern):
            raise Refuse(status)

    in_process.before = refuse
    done = push(run_ch_image, bb, f"{in_process.host}/img:1", check=False)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert ("img", "1") not in in_process.manifests


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["nosuch", "HOST/x"], 1, "not in storage: nosuch"),
        (["bb", f"HOST/x@sha256:{'0' * 64}"], 2, "can't push to a digest"),
        (["bb", "HOST/UPPER"], 1, "UPPER"),
        (["--compression=lzma", "bb", "HOST/x"], 2, "unknown compression: lzma"),
        (["bb", "localhost:1/x"], 1, "can't reach localhost:1"),
        (["--image", "/nosuch", "HOST/x"], 1, "not found: /nosuch"),
    ],
)
def test_mistake(
    *,
    bb: str,
    run_ch_image: Runner,
    in_process: InProcessRegistry,
    arguments: list[str],
    status: int,
    complaint: str,
) -> None:
    arguments = [argument.replace("HOST", in_process.host) for argument in arguments]
    done = push(run_ch_image, *arguments, check=False)
    assert done.returncode == status, done.stderr
    assert f"error: {complaint}" in done.stderr or complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_epoch(*, bb: str, run_ch_image: Runner) -> None:
    done = push(run_ch_image, bb, "localhost:1/x", check=False, env={"SOURCE_DATE_EPOCH": "soon"})
    assert done.returncode == 2
    assert "$SOURCE_DATE_EPOCH: not a number of seconds: soon" in done.stderr


# Runs a command and prints the peak memory of its largest process.
PEAK = """\
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(
    *, tmp_path: Path, storage: Path, run_ch_image: Runner, registry: str
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "zeros").open("wb") as file:
        file.truncate(1 << 30)
    (tree / "random").write_bytes(os.urandom(64 << 20))  # the upload takes several chunks
    run_ch_image("import", tree, "large")
    for arguments in (
        ["push", "large", f"{registry}/large:1"],
        ["save", "-o", str(tmp_path / "saved"), "large"],
    ):
        # A process in between runs it: a program inherits the peak of its caller.
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command("ch-image"), *arguments],
            env=os.environ | NOTHING | {"CH_IMAGE_STORAGE": str(storage)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout.split()[-1]) < 200 << 10  # KiB


def test_layer_whose_blob_was_lost_is_made_anew(
    *, bb: str, run_ch_image: Runner, storage: Path, in_process: InProcessRegistry
) -> None:
    push(run_ch_image, bb, f"{in_process.host}/one:1")
    run_ch_image("pull", f"{in_process.host}/one:1", "one", env=NOTHING)
    run_ch_image("delete", "bb")
    for path in (storage / "blobs/sha256").iterdir():
        path.unlink()
    with InProcessRegistry().serve() as other:
        push(run_ch_image, "one", f"{other.host}/two:1")
        layer = layer_of(other, "two", "1")
        config = other.blobs["two", manifest_of(other, "two", "1")["config"]["digest"]]
    assert members(layer).keys() == members(layer_of(in_process, "one", "1")).keys()
    diff_id = f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}"
    assert json.loads(config)["rootfs"]["diff_ids"] == [diff_id]
