"""One name for several platforms: pushed as one index, pulled by list, saved and loaded."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from sundog.image.oci.platform import Platform
from tests.conftest import command
from tests.image.pull.conftest import engine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.registry.servers import InProcessRegistry

HOST = str(Platform.of_host()).removeprefix("linux/")
PLATFORMS = tuple(dict.fromkeys((HOST, "arm/v6", "riscv64")))


@pytest.fixture
def img(run_ch_image: Runner, tmp_path: Path) -> str:
    """Put "img" into storage for three platforms; a file of each tells which."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for arch in PLATFORMS:
        (root / "etc/which").write_text(arch)
        run_ch_image("import", "-a", arch, root, "img")
    return "img"


def stored(run_ch_image: Runner, *words: str) -> list[tuple[str, str]]:
    images = json.loads(run_ch_image("list", "--format=json", *words).stdout)
    return [(image["name"], image["platform"].removeprefix("linux/")) for image in images]


def skopeo(*words: str | Path) -> Any:
    env = os.environ | {"XDG_RUNTIME_DIR": "/nonexistent"}
    done = subprocess.run(["skopeo", *words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def seen(where: str, arch: str, *words: str) -> Any:
    """Return the configuration that skopeo reads for a platform."""
    architecture, _, variant = arch.partition("/")
    chosen = [
        f"--override-arch={architecture}",
        *([f"--override-variant={variant}"] * (variant > "")),
    ]
    return skopeo(*chosen, "inspect", "--config", *words, where)


def test_push_makes_one_index_and_skopeo_reads_each_platform(
    registry: str, img: str, run_ch_image: Runner, run_ch_run: Runner
) -> None:
    name = f"{registry}/multi/img:1"
    digest = run_ch_image("push", img, name).stdout.strip()
    where = f"docker://{name}"
    index = skopeo("inspect", "--raw", "--tls-verify=false", where)
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    for arch in PLATFORMS:
        config = seen(where, arch, "--tls-verify=false")
        assert Platform.of("linux", config["architecture"], config.get("variant", "")) == (
            Platform.parse(arch)
        )
    assert json.loads(run_ch_image("inspect", "--remote", name).stdout) == index
    assert run_ch_image("push", img, name).stdout.strip() == digest  # the same bytes again

    run_ch_image("pull", "--platform", "linux/riscv64,linux/arm/v6", name, "back")
    assert stored(run_ch_image, "back") == [("back", "arm/v6"), ("back", "riscv64")]
    run_ch_image("pull", "-a", HOST, name, "back")
    assert len(stored(run_ch_image, "back")) == 3
    assert run_ch_image("push", "back", f"{registry}/multi/img:2").stdout.strip() == digest
    only = run_ch_image("push", "-a", "riscv64", img, f"{registry}/multi/img:3").stdout.strip()
    manifest = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{registry}/multi/img:3")
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert only in [entry["digest"] for entry in index["manifests"]]


def test_a_build_for_several_pushes_one_index(
    registry: str, run_ch_image: Runner, tmp_path: Path
) -> None:
    name = f"{registry}/multi/built:1"
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG TARGETARCH\nENV FOR=$TARGETARCH\n")
    run_ch_image("build", "-t", name, "--platform=arm64", "--platform=riscv64", "--push", tmp_path)
    for arch in ("arm64", "riscv64"):
        config = seen(f"docker://{name}", arch, "--tls-verify=false")
        assert (config["architecture"], config["config"]["Env"][-1]) == (arch, f"FOR={arch}")


@pytest.mark.parametrize("form", ["oci-archive", "oci-dir"])
def test_save_makes_an_index_and_load_takes_it_back(
    img: str, run_ch_image: Runner, tmp_path: Path, form: str
) -> None:
    before = stored(run_ch_image)
    path = tmp_path / "saved"
    run_ch_image("save", "-o", path, "--format", form, img)
    where = f"{'oci' if form == 'oci-dir' else form}:{path}:docker.io/library/img:latest"
    for arch in PLATFORMS:
        assert seen(where, arch)["architecture"] == Platform.parse(arch).architecture
    run_ch_image("delete", "*")
    run_ch_image("load", path)
    platforms = [platform for _, platform in before]
    assert stored(run_ch_image) == [("img:latest", platform) for platform in platforms]
    run_ch_image("load", "-a", "riscv64", path, "one")
    assert stored(run_ch_image, "one") == [("one", "riscv64")]
    run_ch_image("load", path, "all")
    assert [platform for _, platform in stored(run_ch_image, "all")] == platforms


def test_an_archive_of_docker_has_one_platform(
    img: str, run_ch_image: Runner, tmp_path: Path
) -> None:
    run_ch_image("save", "--format=docker-archive", "-a", "riscv64", "-o", tmp_path / "a", img)
    assert seen(f"docker-archive:{tmp_path}/a", "riscv64")["architecture"] == "riscv64"


@pytest.mark.slow
def test_podman_reads_each_platform(
    registry: str, img: str, run_ch_image: Runner, tmp_path: Path
) -> None:
    name = f"{registry}/podman/img:1"
    run_ch_image("push", img, name)
    podman = engine("podman", tmp_path)
    layers = set()
    for arch in PLATFORMS:
        pulled = podman("pull", "-q", "--tls-verify=false", f"--platform=linux/{arch}", name)
        (found,) = json.loads(podman("image", "inspect", pulled.strip()))
        architecture, _, variant = arch.partition("/")
        assert (found["Os"], found["Architecture"]) == ("linux", architecture)
        assert found.get("Variant", "") in ("", variant)
        layers.update(found["RootFS"]["Layers"])
    assert len(layers) == len(PLATFORMS)


def test_the_index_comes_last(
    in_process: InProcessRegistry, img: str, run_ch_image: Runner
) -> None:
    name = f"{in_process.host}/img"
    run_ch_image("push", img, name)
    puts = [request for request in in_process.requests if "/manifests/" in request]
    puts = [request for request in puts if request.startswith("PUT")]
    assert [("sha256:" in request) for request in puts] == [True, True, True, False]


@pytest.mark.parametrize("fault", [("-a", "riscv64"), ()], ids=["option", "metadata"])
def test_an_import_whose_programs_say_otherwise_warns(
    run_ch_image: Runner, tmp_path: Path, fault: tuple[str, ...]
) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/sh").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\xb7\0" + bytes(60))
    if not fault:
        (root / "ch").mkdir()
        (root / "ch/metadata.json").write_text('{"arch": "s390x"}')
    done = run_ch_image("import", *fault, root, "x")
    if fault:
        assert "its programs are for linux/arm64; the image becomes one for linux/riscv64" in (
            done.stderr
        )
        assert stored(run_ch_image, "x") == [("x", "riscv64")]
    else:
        assert "its /ch/metadata.json says it is for linux/s390x; the image becomes one for " in (
            done.stderr
        )
        assert stored(run_ch_image, "x") == [("x", "arm64")]


def test_convert_takes_the_platform_that_is_meant(
    img: str, run_ch_image: Runner, storage: Path, tmp_path: Path
) -> None:
    def convert(*words: str | Path) -> str:
        done = subprocess.run(
            [*command("ch-convert"), "-s", storage, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    for number, (words, arch) in enumerate(
        (((), HOST), (("-a", "riscv64"), "riscv64"), (("--arch=linux/arm/v6",), "arm/v6"))
    ):
        convert(*words, "-i", "ch-image", "-o", "dir", img, tmp_path / str(number))
        assert (tmp_path / str(number) / "etc/which").read_text() == arch
    convert("-a", "riscv64", "-i", "dir", "-o", "ch-image", tmp_path / "0", "y")
    assert stored(run_ch_image, "y") == [("y", "riscv64")]
    run_ch_image("save", "-o", tmp_path / "saved", img)
    convert("-a", "arm/v6", "-i", "oci-archive", "-o", "ch-image", tmp_path / "saved", "z")
    assert stored(run_ch_image, "z") == [("z", "arm/v6")]


def test_a_list_is_made_extended_pushed_and_removed(
    registry: str, img: str, run_ch_image: Runner
) -> None:
    """The children of a registry's index keep their digests."""
    run_ch_image("push", "-a", "riscv64", img, f"{registry}/list/a:1")
    run_ch_image("manifest", "create", "app", f"docker://{registry}/list/a:1")
    assert stored(run_ch_image, "app") == [("app", "riscv64")]
    done = run_ch_image("manifest", "create", "app", img, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "app is in storage" in done.stderr
    run_ch_image("manifest", "add", "-a", HOST, "app", img)
    run_ch_image("manifest", "push", "app", f"docker://{registry}/list/app:1")
    where = f"docker://{registry}/list/app:1"
    before = skopeo("inspect", "--raw", "--tls-verify=false", where)
    assert len(before["manifests"]) == 2
    listed = json.loads(run_ch_image("manifest", "inspect", "app").stdout)
    assert [entry["platform"]["architecture"] for entry in listed["manifests"]] == [HOST, "riscv64"]
    assert listed["manifests"][1]["digest"] == before["manifests"][1]["digest"]

    run_ch_image("manifest", "create", "more", f"{registry}/list/app:1")
    run_ch_image("manifest", "create", "--amend", "-a", "arm/v6", "more", img)
    run_ch_image("manifest", "push", "more", f"{registry}/list/app:1")
    after = skopeo("inspect", "--raw", "--tls-verify=false", where)
    assert len(after["manifests"]) == 3
    for entry in before["manifests"]:
        assert entry in after["manifests"]
    assert json.loads(run_ch_image("manifest", "inspect", where).stdout) == after

    run_ch_image("manifest", "rm", "-a", "riscv64", "more")
    assert stored(run_ch_image, "more") == [("more", HOST), ("more", "arm/v6")]
    run_ch_image("manifest", "rm", "more", "app")
    assert stored(run_ch_image) == stored(run_ch_image, img)


def test_an_image_of_a_list_is_annotated(registry: str, img: str, run_ch_image: Runner) -> None:
    """It is named by its platform, by its digest, or by another name; the others keep theirs."""
    run_ch_image("push", img, f"{registry}/noted/img:1")
    where = f"docker://{registry}/noted/img:1"
    before = skopeo("inspect", "--raw", "--tls-verify=false", where)["manifests"]
    run_ch_image("manifest", "create", "app", where)
    of_arm = next(each["digest"] for each in before if each["platform"]["architecture"] == "arm")
    run_ch_image("manifest", "annotate", "--annotation", "a=1", "app", of_arm)
    run_ch_image("manifest", "annotate", "--annotation=b=2", "app", "linux/arm/v6")
    run_ch_image(
        "manifest", "annotate", "--arch=riscv64", "--variant=rva22", "app", "linux/riscv64"
    )
    run_ch_image("manifest", "create", "-a", HOST, "one", img)
    run_ch_image("manifest", "annotate", "--arch=s390x", "one", img)
    assert stored(run_ch_image, "one") == [("one", "s390x")]
    run_ch_image("manifest", "annotate", "--os=wasip1", "one", "linux/s390x")
    assert '"os": "wasip1"' in run_ch_image("manifest", "inspect", "one").stdout
    run_ch_image("manifest", "push", "app", where)
    after = skopeo("inspect", "--raw", "--tls-verify=false", where)["manifests"]
    assert [each.get("annotations") for each in after] == [None, {"a": "1", "b": "2"}, None]
    assert [each["platform"].get("variant") for each in after] == [None, "v6", "rva22"]
    assert seen(where, "riscv64/rva22", "--tls-verify=false")["variant"] == "rva22"
    child = f"docker://{registry}/noted/img@{after[1]['digest']}"
    manifest = skopeo("inspect", "--raw", "--tls-verify=false", child)
    assert manifest["annotations"] == {"a": "1", "b": "2"}
    assert stored(run_ch_image, "app") == [
        *(("app", arch) for arch in (HOST, "arm/v6", "riscv64/rva22")),
    ]


def test_mistakes_with_lists(registry: str, img: str, run_ch_image: Runner) -> None:
    for words, message in {
        ("add", "app"): "manifest add: no image",
        ("add", "app", f"{registry}/absent"): "neither in storage nor in a registry",
        ("push", "app"): "not in storage: app",
        ("push", img, "a", "b"): "manifest push: too many words: b",
        ("rm", "app"): "not in storage: app",
        ("inspect", f"{registry}/absent"): "not in registry",
        ("annotate", img): "manifest annotate: which image of the list?",
        ("annotate", img, "absent"): f"{img} has no image absent",
        ("annotate", img, img): f"{img} has 3 images {img}",
        ("annotate", "--arch=arm/v6", img, "linux/riscv64"): f"{img} has an image for linux/arm/v6",
        ("annotate", "--os=a b", img, "linux/riscv64"): "--os: no operating system: a b",
        ("annotate", "--os=linux/arm64", img, "linux/riscv64"): "--os: no operating system: linux/",
        ("annotate", "--os=lunix", img, "linux/riscv64"): "--os: no operating system: lunix",
        ("annotate", "--variant=a b", img, "linux/riscv64"): "expected OS/ARCHITECTURE",
        ("annotate", "--variant=a/b", img, "linux/riscv64"): "--variant: not one word: a/b",
        ("annotate", "--annotation=x", img, "linux/riscv64"): "--annotation: x: no value",
        ("add", "--variant=v7", "app", img): "manifest add: no --variant",
        ("list", img): "invalid choice",
        ("create", "A"): "not an image reference",
    }.items():
        done = run_ch_image("manifest", *words, check=False)
        assert done.returncode in (1, 2), words
        assert message in done.stderr, (words, done.stderr)
    assert len(stored(run_ch_image)) == len(PLATFORMS)
