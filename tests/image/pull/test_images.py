"""Awkward images, and their effects: the store's layers, shared layers, requests."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from sundog.image.oci import media_types
from tests.conftest import command
from tests.image.layer.archives import directory, file, hard_link, symlink
from tests.image.pull.conftest import layer_of, refused
from tests.image.pull.images import BASE, Layer, Shelf, digest, for_platform

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.pull.faulty import FaultyRegistry
    from tests.image.pull.flavours import Flavours


@pytest.fixture
def programs(busybox_tar: Path) -> bytes:
    """Return a tar of static programs, so that the image can run."""
    return busybox_tar.read_bytes()


@pytest.fixture
def listing(shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, run_ch_run: Runner) -> Any:
    """Return a function that pulls an image and runs a shell command in it."""

    def run(script: str, name: str = "a") -> str:
        run_ch_image("pull", f"{faulty.host}/{name}")
        return run_ch_run(f"{faulty.host}/{name}", "--", "sh", "-c", script).stdout

    return run


def config_of(storage: Path) -> Any:
    (place,) = (storage / "images").iterdir()
    return json.loads((place / "config.json").read_text())


def test_whiteouts_and_opaque_directories(
    shelf: Shelf, programs: bytes, listing: Any, driver: str
) -> None:
    shelf.image(
        shelf.tar_layer(programs),
        shelf.layer(
            *(file("gone"), directory("w"), file("w/keep"), file("w/gone")),
            *(directory("w/opq"), file("w/opq/old"), directory("w/dir"), file("w/dir/in")),
            file("w/becomes", b"file\n"),
        ),
        shelf.layer(
            *(file(".wh.gone", b""), file("w/.wh.gone", b""), file("w/.wh.dir", b"")),
            *(file("w/.wh.never-was", b""), file("w/opq/.wh..wh..opq", b""), file("w/opq/new")),
            *(directory("w/becomes"), file("w/becomes/in")),
        ),
        tag="a:latest",
    )
    assert listing("cd /; ls -d gone 2>/dev/null; find w | sort").split() == [
        *("w", "w/becomes", "w/becomes/in", "w/keep", "w/opq", "w/opq/new"),
    ]


def test_an_opaque_root_hides_all(shelf: Shelf, programs: bytes, listing: Any, driver: str) -> None:
    shelf.image(
        *(shelf.base(), shelf.layer(file("old"), directory("d"), file("d/old"))),
        shelf.layer(file(".wh..wh..opq", b""), directory("d"), file("d/new")),
        shelf.tar_layer(programs),
        tag="a:latest",
    )
    assert listing("cd /; ls -d old etc/base d/* 2>/dev/null || true").split() == ["d/new"]


def test_hard_links_across_layers(shelf: Shelf, programs: bytes, listing: Any, driver: str) -> None:
    shelf.image(
        shelf.tar_layer(programs),
        shelf.layer(directory("h"), file("h/a", b"a\n"), hard_link("h/b", "h/a")),
        shelf.layer(hard_link("h/c", "h/a")),
        shelf.layer(file("h/.wh.a", b""), hard_link("h/d", "h/c")),
        tag="a:latest",
    )
    assert listing("cd /h; ls; cat *; stat -c %i c d | uniq | wc -l").split() == [
        *("b", "c", "d", "a", "a", "a", "1"),
    ]


def test_compressions_empty_layers_and_layers_that_are_there_twice(
    shelf: Shelf, programs: bytes, listing: Any, driver: str
) -> None:
    twice = shelf.layer(directory("c"), file("c/gzip", b"gzip\n"))
    shelf.image(
        shelf.tar_layer(programs),
        twice,
        shelf.layer(file("c/zstd", b"zstd\n"), compression="zstd"),
        shelf.layer(file("c/none", b"none\n"), compression="none"),
        shelf.layer(file("c/members", bytes(2000)), compression="members"),
        *(shelf.layer(), shelf.layer()),
        twice,
        tag="a:latest",
    )
    assert listing("cd /c; cat gzip zstd none; wc -c <members").split() == [
        *("gzip", "zstd", "none", "2000"),
    ]


def test_many_layers(shelf: Shelf, programs: bytes, listing: Any) -> None:
    layers = [shelf.layer(directory("y"), file(f"y/{n:03}")) for n in range(120)]
    shelf.image(shelf.tar_layer(programs), *layers, tag="a:latest")
    assert listing("ls /y | wc -l").split() == ["120"]


def test_what_inodes_do_not_show_is_kept(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    shelf.image(
        shelf.layer(
            *(file("owned", uid=1234, gid=5678), file("suid", mode=0o4755)),
            *(directory("shut", mode=0o000), file("shut/in", mode=0o400, uid=1)),
            symlink("link", "/abs"),
        ),
        tag="a:latest",
    )
    run_ch_image("pull", f"{faulty.host}/a")
    tree = layer_of(storage, 0, f"{faulty.host}/a")
    assert stat.S_IMODE((tree / "suid").stat().st_mode) == 0o4755
    assert stat.S_IMODE((tree / "shut").stat().st_mode) == 0
    assert os.readlink(tree / "link") == "/abs"
    owners = (tree.parent / "owners").read_bytes()
    assert b"owned" in owners
    assert b"1234" in owners


def test_layers_are_shared_and_never_fetched_twice(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    base = shelf.base()
    shelf.image(base, shelf.layer(file("one")), tag="a:latest")
    shelf.image(base, shelf.layer(file("two")), tag="b:latest")
    run_ch_image("pull", f"{faulty.host}/a")
    run_ch_image("pull", f"{faulty.host}/b")
    assert len(list((storage / "layers").iterdir())) == 3
    asked = [one.path for one in faulty.asked if one.is_blob]
    assert len(asked) == len(set(asked)) == 5
    run_ch_image("delete", f"{faulty.host}/a", f"{faulty.host}/b")
    assert list((storage / "layers").iterdir()) == []
    assert list((storage / "blobs/sha256").iterdir()) == []


def test_an_unchanged_tag_takes_one_request(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    image = shelf.image(shelf.base())
    shelf.index(for_platform(image, "amd64"), tag="a:latest")
    name = f"{faulty.host}/a"
    run_ch_image("pull", "--arch", "amd64", name)
    faulty.asked.clear()
    done = run_ch_image("pull", "--arch", "amd64", name)
    assert "image in storage is up to date" in done.stderr
    assert [one.method for one in faulty.asked] == ["HEAD"]
    faulty.asked.clear()
    run_ch_image("pull", "--arch", "amd64", f"{name}@{shelf.tags['a:latest']}", name)
    run_ch_image("pull", "--arch", "amd64", f"{name}@{shelf.tags['a:latest']}", name)
    assert [one for one in faulty.asked if one.is_blob] == []


def test_a_moved_tag_is_followed_and_only_what_is_new_moves(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    base = shelf.base()
    shelf.image(base, tag="a:latest")
    run_ch_image("pull", f"{faulty.host}/a")
    new = shelf.layer(file("new"))
    shelf.image(base, new, tag="a:latest")
    faulty.sent = 0
    run_ch_image("pull", f"{faulty.host}/a")
    (config,) = [blob for name, blob in shelf.blobs.items() if new.diff_id.encode() in blob]
    assert faulty.sent == new.descriptor["size"] + len(config)
    assert len(config_of(storage)["rootfs"]["diff_ids"]) == 2


def test_always_download_does(shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner) -> None:
    shelf.image(shelf.base(), tag="a:latest")
    run_ch_image("pull", f"{faulty.host}/a")
    faulty.asked.clear()
    run_ch_image("pull", "--always-download", f"{faulty.host}/a")
    assert [one.method for one in faulty.asked][:2] == ["GET", "GET"]


def test_blobs_outlive_their_layer_no_longer_than_it(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    shelf.image(shelf.base(), tag="a:latest")
    run_ch_image("pull", f"{faulty.host}/a", "kept")
    names = {f"sha256:{path.name}" for path in (storage / "blobs/sha256").iterdir()}
    assert names == set(shelf.blobs)
    run_ch_image("delete", "kept")
    assert list((storage / "blobs/sha256").iterdir()) == []


def test_blobs_that_have_rotted_are_fetched_again(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    layer = shelf.base()
    shelf.image(layer, tag="a:latest")
    blobs = storage / "blobs/sha256"
    run_ch_image("list")  # makes the storage directory
    (storage / "blobs").rmdir()  # a version without pull made no such directory
    run_ch_image("reset")
    blobs.mkdir()
    for name, blob in shelf.blobs.items():
        (blobs / name.removeprefix("sha256:")).write_bytes(blob[:-1] + b"?")
    run_ch_image("pull", f"{faulty.host}/a")
    for name, blob in shelf.blobs.items():
        assert (blobs / name.removeprefix("sha256:")).read_bytes() == blob


def test_blobs_without_their_layer_are_used(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    layer = shelf.base()
    shelf.image(layer, tag="a:latest")
    blobs = storage / "blobs/sha256"
    run_ch_image("list")
    blobs.mkdir()
    name = layer.descriptor["digest"]
    (blobs / name.removeprefix("sha256:")).write_bytes(shelf.blobs[name])
    done = run_ch_image("pull", f"{faulty.host}/a")
    assert ": using existing file" in done.stderr
    assert not any(one.path.endswith(name) for one in faulty.asked)


def test_the_configuration_is_kept_whole(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    config: dict[str, Any] = {
        "Env": ["PATH=/bin", "EMPTY=", "NOEQ", "U=\u00fc"],
        "Entrypoint": ["/bin/echo"],
        "Cmd": None,
        "User": "1000:1000",
        "WorkingDir": "/work",
        "Labels": {"a.b": "c d"},
        "Volumes": {"/vol": {}},
        "Healthcheck": {"Test": ["NONE"]},
        "Unheard": 1,
    }
    shelf.image(shelf.base(), tag="a:latest", config=config)
    run_ch_image("pull", f"{faulty.host}/a")
    kept = config_of(storage)["config"]
    assert kept == {name: value for name, value in config.items() if value is not None}


@pytest.mark.parametrize("docker", [True, False])
def test_docker_types(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, docker: bool
) -> None:
    image = shelf.image(shelf.layer(*BASE, docker=docker), docker=docker)
    shelf.index(for_platform(image, "amd64"), tag="a:latest", docker=docker)
    run_ch_image("pull", "--arch=amd64", f"{faulty.host}/a")


def test_schema_1_is_refused(shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    shelf.tag("a:latest", shelf.document({"schemaVersion": 1, "fsLayers": []}, kind))
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(done, "Docker's schema 1, which is not supported", "hint: push the image again")


def test_what_is_no_image_is_refused(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    config = shelf.blob(b"{}", "application/vnd.cncf.helm.config.v1+json")
    manifest = {"schemaVersion": 2, "config": config, "layers": []}
    shelf.tag("a:latest", shelf.document(manifest, media_types.OCI_MANIFEST))
    done = run_ch_image("pull", f"{faulty.host}/a", check=False)
    refused(done, "not an image: its configuration has type application/vnd.cncf.helm")


# Platforms


@pytest.fixture
def platforms(shelf: Shelf) -> Shelf:
    """Return a shelf with an index of three platforms, and BuildKit's additions to it."""
    images = [
        (("arm", "v7"), shelf.image(shelf.layer(file("v7")), architecture=("arm", "v7"))),
        (("arm", "v5"), shelf.image(shelf.layer(file("v5")), architecture=("arm", "v5"))),
        (("s390x", ""), shelf.image(shelf.layer(file("s390x")), architecture=("s390x", ""))),
    ]
    attestation = for_platform(shelf.image(shelf.layer(file("x"))), "unknown")
    attestation["platform"]["os"] = "unknown"
    entries = [for_platform(image, *names) for names, image in images]
    shelf.index(attestation, *entries, tag="a:latest")
    return shelf


@pytest.mark.parametrize(
    "choice",
    [("arm/v7", "v7"), ("arm/v6", "v5"), ("linux/s390x", "s390x"), ("arm", "v7")],
)
def test_the_platform_is_chosen(
    platforms: Shelf,
    faulty: FaultyRegistry,
    run_ch_image: Runner,
    storage: Path,
    choice: tuple[str, str],
) -> None:
    arch, expected = choice
    done = run_ch_image("pull", "--arch", arch, f"{faulty.host}/a")
    assert (layer_of(storage, 0, f"{faulty.host}/a") / expected).exists()
    assert "(may not match host" in done.stderr
    # Another platform has another image.
    run_ch_image("pull", "--arch=s390x", f"{faulty.host}/a")
    assert (layer_of(storage, 0, f"{faulty.host}/a", "s390x") / "s390x").exists()


@pytest.mark.parametrize("options", [(), ("--arch=riscv64",)])
def test_a_platform_that_there_is_not(
    platforms: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, options: tuple[str, ...]
) -> None:
    done = run_ch_image("pull", *options, f"{faulty.host}/a", check=False)
    wanted = options[0].partition("=")[2] if options else ""
    refused(
        done,
        f"requested arch unavailable: linux/{wanted}",
        "hint: available: linux/arm/v7, linux/arm/v5, linux/s390x",
    )


def test_an_image_without_index_says_itself_what_it_is_for(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    shelf.image(shelf.base(), tag="a:latest", architecture=("s390x", ""))
    done = run_ch_image("pull", "--arch=arm64", f"{faulty.host}/a", check=False)
    refused(done, "requested arch unavailable: linux/arm64", "hint: available: linux/s390x")
    done = run_ch_image("pull", f"{faulty.host}/a")
    assert "warning: image is for linux/s390x" in done.stderr
    run_ch_image("pull", "--arch=yolo", f"{faulty.host}/a")


def test_from_with_a_platform(
    platforms: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, tmp_path: Path, storage: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM --platform=linux/s390x {faulty.host}/a\n")
    run_ch_image("build", "-t", "x", tmp_path)
    assert (layer_of(storage, 0, "x") / "s390x").exists()
    (tmp_path / "Dockerfile").write_text(
        f"ARG TARGETPLATFORM\nFROM {faulty.host}/a\nARG TARGETARCH\nLABEL a=$TARGETARCH\n"
    )
    run_ch_image("build", "--arch=arm/v7", "-t", "y", tmp_path)
    assert (layer_of(storage, 0, "y") / "v7").exists()


def test_from_with_a_digest(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, tmp_path: Path
) -> None:
    shelf.image(shelf.base(), tag="a:latest")
    name = f"{faulty.host}/a@{shelf.tags['a:latest']}"
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nLABEL a=b\n")
    run_ch_image("build", "-t", "x", tmp_path)
    assert run_ch_image("list").stdout == f"{name}\nx\n"


# The rest of the command line


def test_list_shows_what_a_registry_has(
    platforms: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    platforms.image(platforms.base(), tag="b:latest")
    done = run_ch_image("list", "--remote", f"{faulty.host}/a")
    details = [line.split() for line in done.stdout.splitlines()]
    assert ["available", "remotely:", "yes"] in details
    assert ["remote", "arch-aware:", "yes"] in details
    assert [line[0] for line in details[-3:-1]] == ["linux/arm/v5", "linux/s390x"]
    details = [
        line.split()
        for line in run_ch_image("list", "--remote", f"{faulty.host}/b").stdout.splitlines()
    ]
    assert ["remote", "arch-aware:", "no"] in details
    run_ch_image("pull", f"{faulty.host}/b", "mine")
    done = run_ch_image("list", "--remote", f"{faulty.host}/none")
    assert "available remotely:  no (or you are not authorized)" in done.stdout


def test_list_does_not_ask_the_registry_by_itself(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    shelf.image(shelf.base(), tag="a:latest")
    done = run_ch_image("list", f"{faulty.host}/a")
    assert faulty.asked == []
    assert "available remotely:  not asked (--remote asks the registry)\n" in done.stdout
    done = run_ch_image("list", "--remote", "a*", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --remote: not the name of one image\n")


def test_list_where_no_registry_is_reached(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    shelf.image(shelf.base(), tag="a:latest")
    run_ch_image("pull", f"{faulty.host}/a", "127.0.0.1:9/a")
    done = run_ch_image("list", "--remote", "127.0.0.1:9/a")
    assert "warning: can't reach 127.0.0.1:9" in done.stderr
    assert "available remotely:  unknown" in done.stdout
    done = run_ch_image("list", "--remote", "127.0.0.1:9/b", check=False)
    assert done.returncode == 1


def test_last_layer(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, storage: Path
) -> None:
    shelf.image(shelf.base(), shelf.layer(file("second")), tag="a:latest")
    run_ch_image("pull", "--last-layer=1", f"{faulty.host}/a")
    assert len(list((storage / "layers").iterdir())) == 1
    run_ch_image("pull", f"{faulty.host}/a")  # --last-layer made another image
    assert len(list((storage / "layers").iterdir())) == 2
    done = run_ch_image("pull", "--last-layer=0", f"{faulty.host}/a", check=False)
    assert done.returncode == 2


def test_a_destination(shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner) -> None:
    shelf.image(shelf.base(), tag="a:latest")
    done = run_ch_image("pull", f"{faulty.host}/a", "mine")
    assert "destination:      mine" in done.stderr
    assert run_ch_image("list").stdout == "mine\n"


def test_parse_only(run_ch_image: Runner, storage: Path) -> None:
    done = run_ch_image("pull", "--parse-only", "h.org:8080/a/b/c:1.2")
    assert done.stdout.splitlines() == [
        "as string:    h.org:8080/a/b/c:1.2",
        "for filename: h.org+8080%a%b%c+1.2",
        "fields:",
        "  host    'h.org'",
        "  port    8080",
        "  path    ['a', 'b']",
        "  name    'c'",
        "  tag     '1.2'",
        "  digest  None",
    ]
    text = f"alpine@sha256:{'0' * 64}"
    lines = run_ch_image("pull", "--parse-only", text).stdout.splitlines()
    assert lines[3:] == [
        *("  host    None", "  port    None", "  path    []", "  name    'alpine'"),
        *("  tag     None", f"  digest  '{'0' * 64}'"),
    ]
    assert not storage.exists()
    assert run_ch_image("pull", "--parse-only", "UPPER", check=False).returncode == 1


def test_short_names_are_looked_for_where_the_variables_say(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner
) -> None:
    shelf.image(shelf.base(), tag="group/alpine:3")
    environment = {
        "CH_REGY_DEFAULT_HOST": "127.0.0.1",
        "CH_REGY_DEFAULT_PORT": str(faulty.port),
        "CH_REGY_PATH_PREFIX": "group",
    }
    run_ch_image("pull", "alpine:3", env=environment)
    assert run_ch_image("list").stdout == "alpine:3\n"


def test_what_skopeo_pushes_is_pulled(
    shelf: Shelf, faulty: FaultyRegistry, run_ch_image: Runner, tmp_path: Path, busybox_tar: Path
) -> None:
    """skopeo and Sundog read the same image from the tests' registry, without an error."""
    shelf.image(shelf.tar_layer(busybox_tar.read_bytes()), tag="a:latest")
    subprocess.run(
        [
            *("skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"),
            *(f"docker://{faulty.host}/a:latest", f"oci:{tmp_path}/layout:a"),
        ],
        check=True,
    )
    run_ch_image("pull", f"{faulty.host}/a")
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert index["manifests"][0]["digest"] == shelf.tags["a:latest"]
    assert digest(shelf.blobs[shelf.tags["a:latest"]]) == shelf.tags["a:latest"]


def test_zstd_chunked_is_zstd_to_us(
    *,
    flavours: Flavours,
    tmp_path: Path,
    storage: Path,
    bb: str,
    run_ch_image: Runner,
    run_ch_run: Runner,
) -> None:
    """podman pushes zstd frames, and a table of contents in skippable frames."""
    # skopeo compresses uncompressed layers by the option's method.
    run_ch_image("save", "-o", tmp_path / "saved", "--format=docker-archive", "bb")
    there = f"{flavours.http}/chunked/bb:1"
    subprocess.run(
        [
            *("skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"),
            "--dest-compress-format=zstd:chunked",
            *(f"docker-archive:{tmp_path}/saved", f"docker://{there}"),
        ],
        check=True,
    )
    run_ch_image("pull", there)
    inspect = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{there}"]
    seen = json.loads(subprocess.run(inspect, stdout=subprocess.PIPE, check=True).stdout)
    (layer,) = seen["layers"]
    assert layer["mediaType"].endswith("+zstd")
    blob = storage / "blobs/sha256" / layer["digest"].removeprefix("sha256:")
    assert b"\x50\x2a\x4d\x18" in blob.read_bytes()  # a skippable frame
    assert run_ch_run(there, "--", "/bin/echo", "hello").stdout == "hello\n"


@pytest.mark.slow
def test_memory_does_not_grow_with_a_layer(
    shelf: Shelf, faulty: FaultyRegistry, storage: Path, tmp_path: Path
) -> None:
    size = 1 << 30
    member = tarfile.TarInfo("zeros")
    member.size = size
    hashed = hashlib.sha256()
    parts = []
    zeros = bytes(1 << 20)
    packed = {piece: gzip.compress(piece, mtime=0) for piece in (member.tobuf(), zeros)}
    for piece in (member.tobuf(), *([zeros] * (size >> 20))):
        hashed.update(piece)
        parts.append(packed[piece])  # a gzip file may have many members
    blob = shelf.blob(b"".join(parts), media_types.OCI_LAYER_GZIP)
    shelf.image(Layer(blob, f"sha256:{hashed.hexdigest()}"), tag="a:latest")
    # Start it from a small process, because the memory before execve(2) counts, too.
    measure = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure, *command("ch-image"), "-q", "pull", f"{faulty.host}/a"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        stdout=subprocess.PIPE,
        check=True,
    )
    # The result is the larger one of the process and its worker.
    assert int(done.stdout) * 1024 < 100e6
    assert (layer_of(storage, 0, f"{faulty.host}/a") / "zeros").stat().st_size == size
    shutil.rmtree(storage)
