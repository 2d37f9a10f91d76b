"""Hostile archives in the form of docker save."""

from __future__ import annotations

import gzip
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

from sundog.image.layer.limits import Limits
from tests.hostile.cases import (
    BASE_LAYER,
    BOMB,
    CANARY,
    DEEP,
    Case,
    docker,
    image_config,
    link,
    plain_tar,
    tree,
)
from tests.image.layer.archives import (
    archive,
    file,
    hard_link,
    pax_header,
    raw_header,
    symlink,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

UP = "../" * 40


def entry(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda good: [good | changes]


def upper(*entries: Any, **options: Any) -> Callable[[], bytes]:
    return docker(lambda: tree(*entries), **options)


def is_opaque(path: bytes) -> None:
    with open(os.path.join(os.path.dirname(path), b"owners"), "rb") as owners:
        assert b"opaque" in owners.read()


def images(names: int) -> Callable[[dict[str, Any]], object]:
    return entry(RepoTags=[f"img:{n}" for n in range(names)])


def terabyte() -> bytes:
    """Return an archive of docker save whose layer is a hole."""
    sparse = pax_header((b"GNU.sparse.map", b"0,0"), (b"GNU.sparse.size", b"%d" % (1 << 40)))
    return sparse + raw_header(b"hole") + docker(manifest=entry(Layers=["hole"]))()


DOCKER_ARCHIVES = [
    Case(
        "no manifest",
        lambda: plain_tar({"x": b"x"}),
        "neither an OCI layout nor an archive of docker save",
    ),
    Case("a manifest that is an object", docker(manifest=lambda _: {}), "expected a list"),
    Case("a manifest of numbers", docker(manifest=lambda _: [1]), "expected an object"),
    Case("a manifest of nothing", docker(manifest=lambda _: []), "it contains no image"),
    Case("a manifest that is no JSON", docker(manifest=lambda _: b"hello"), "not JSON"),
    Case("a manifest that is no text", docker(manifest=lambda _: b"\xff\xfe\xff"), "not JSON"),
    Case("a manifest cut", docker(manifest=lambda _: b'[{"Config": "conf'), "not JSON"),
    Case("a deep manifest", docker(manifest=lambda _: DEEP), "nested too deeply"),
    Case(
        "a manifest of 17 MiB",
        docker(manifest=lambda _: b"[" + b" " * (17 << 20) + b"]"),
        "is longer than",
    ),
    Case(
        "a number of 5,000 digits",
        docker(manifest=lambda _: b"[" + b"1" * 5000 + b"]"),
        "manifest.json",
    ),
    Case("1,001 images", docker(manifest=lambda good: [good] * 1001), "more than 1,000 images"),
    Case("1,001 names", docker(manifest=images(1001)), "more than 1,000 images"),
    Case(
        "documents again and again",
        docker(manifest=lambda good: [good] * 40, extra={"pad": b""}, Labels={"pad": "x" * 1000}),
        "its documents take more than 20,000 bytes",
        limits=Limits(documents=20_000),
    ),
    Case(
        "a configuration that is not there",
        docker(manifest=entry(Config="nosuch")),
        "nosuch is not there",
    ),
    Case(
        "a configuration outside",
        docker(manifest=entry(Config=UP + "etc/passwd")),
        "etc/passwd is not there",
    ),
    Case(
        "a configuration by an absolute name",
        docker(manifest=entry(Config="/etc/passwd")),
        "is not there",
    ),
    Case(
        "a configuration that is a number",
        docker(manifest=entry(Config=7)),
        "Config: expected a string",
    ),
    Case("a configuration of no name", docker(manifest=entry(Config="")), "is not there"),
    Case(
        "a configuration with a NUL in its name",
        docker(manifest=entry(Config="a\0b")),
        "is not there",
    ),
    Case(
        "a configuration with a lone surrogate in its name",
        docker(manifest=lambda _: b'[{"Config": "\\ud800"}]'),
        "is not there",
    ),
    Case("layers that are a number", docker(manifest=entry(Layers=1)), "Layers: expected a list"),
    Case(
        "layers that are numbers",
        docker(manifest=entry(Layers=[1])),
        "Layers: expected a list of strings",
    ),
    Case(
        "a layer that is not there",
        docker(manifest=entry(Layers=["nosuch"])),
        "nosuch is not there",
    ),
    Case(
        "a layer outside",
        docker(manifest=entry(Layers=[UP + "etc/passwd"])),
        "etc/passwd is not there",
    ),
    Case("a layer too many", docker(manifest=entry(Layers=["0/layer.tar"] * 2)), "names 2 layers"),
    Case(
        "a layer too few", docker(manifest=entry(Layers=[])), "names 0 layers, the configuration 1"
    ),
    Case(
        "1,001 layers",
        docker(
            manifest=entry(Layers=["0/layer.tar"] * 1001), config=image_config(*[BASE_LAYER] * 1001)
        ),
        "an image of 1001 layers: more than 1,000",
    ),
    Case("a name in capitals", docker(manifest=entry(RepoTags=["UPPER"])), "UPPER"),
    Case("a name out", docker(manifest=entry(RepoTags=["../../x"])), "not an image reference"),
    Case(
        "a name with an escape sequence",
        docker(manifest=entry(RepoTags=["a\x1b[2J"])),
        "not an image reference",
    ),
    Case(
        "a name of 5,000 characters",
        docker(manifest=entry(RepoTags=["a" * 5000])),
        "longer than 255",
        command="load by its name",
    ),
    Case(
        "names that are an object",
        docker(manifest=entry(RepoTags={})),
        "RepoTags: expected a list of strings",
    ),
    Case(
        "a manifest that is a link out",
        lambda: plain_tar({}, link("manifest.json", "/etc/passwd")),
        "neither an",
    ),
    Case(
        "a manifest that is a hard link out",
        lambda: plain_tar({}, link("manifest.json", "/etc/passwd", tarfile.LNKTYPE)),
        "neither an OCI",
    ),
    Case(
        "a manifest that is a directory",
        lambda: plain_tar({"manifest.json/x": b"[]"}),
        "neither an OCI layout",
    ),
    Case(
        "a layer that is a link out",
        docker(manifest=entry(Layers=["out"]), links=(link("out", "/etc/passwd"),)),
        "out is not there",
    ),
    Case(
        "a layer that is a link in dots",
        docker(manifest=entry(Layers=["a/out"]), links=(link("a/out", UP + "etc/passwd"),)),
        "out is not there",
    ),
    Case(
        "a layer that is a loop of links",
        docker(manifest=entry(Layers=["a"]), links=(link("a", "b"), link("b", "a"))),
        "a is not there",
    ),
    Case(
        "a layer at the end of many links",
        docker(
            manifest=entry(Layers=["l0"]),
            links=(*(link(f"l{n}", f"l{n + 1}") for n in range(20)), link("l20", "0/layer.tar")),
        ),
        "l0 is not there",
    ),
    Case(
        "a layer with another digest",
        docker(config=image_config(b"another")),
        "unpacked: content has digest",
    ),
    Case(
        "a digest that is none",
        docker(config=image_config() | {"rootfs": {"diff_ids": ["hello"]}}),
        "digest",
    ),
    Case(
        "a digest with a path in it",
        docker(config=image_config() | {"rootfs": {"diff_ids": [f"sha256:{UP}etc/passwd"]}}),
        "digest",
    ),
    Case(
        "a digest of another algorithm",
        docker(config=image_config() | {"rootfs": {"diff_ids": ["md5:" + "0" * 32]}}),
        "digest",
    ),
    Case(
        "digests that are a string of many",
        docker(config=image_config() | {"rootfs": {"diff_ids": 5}}),
        "diff_ids",
    ),
    Case(
        "a root that is a list",
        docker(config=image_config() | {"rootfs": []}),
        "rootfs: expected an object",
    ),
    Case("a configuration that is a list", docker(config=[]), "expected an object"),
    Case("a deep configuration", docker(config=DEEP), "nested too deeply"),
    Case("a configuration that is null", docker(config=b"null"), "expected an object"),
    Case(
        "an architecture that is a number",
        docker(architecture=64),
        "architecture: expected a string",
    ),
    Case(
        "an environment that is an object",
        docker(config=image_config(BASE_LAYER) | {"config": {"Env": {}}}),
        "Env",
    ),
    Case(
        "a command of numbers",
        docker(config=image_config(BASE_LAYER) | {"config": {"Cmd": [1]}}),
        "Cmd",
    ),
    Case(
        "labels of numbers",
        docker(config=image_config(BASE_LAYER) | {"config": {"Labels": {"a": 1}}}),
        "Labels",
    ),
    Case("a history that is a string", docker(history="long ago"), "history"),
    Case("a history of numbers", docker(history=[1]), "history"),
    Case("a layer that is no tar", docker(b"hello\n" * 1000), "this is not a tar archive"),
    Case("a layer of nothing", docker(b""), "the archive is empty"),
    Case("a layer that leads out", upper(file(UP + "CANARY/escaped")), '".." in it'),
    Case(
        "a layer with a hard link out",
        upper(hard_link("h", CANARY + "/precious")),
        "is not there",
    ),
    Case(
        "a layer with a hard link through a symlink below",
        docker(
            lambda: tree(symlink("s", CANARY)),
            lambda: tree(hard_link("h", "s/precious")),
        ),
        "is not there",
    ),
    Case(
        "a layer through a symlink below",
        docker(
            lambda: tree(symlink("s", CANARY)),
            lambda: tree(file("s/.wh.precious"), file("s/f")),
        ),
        holds={"CANARY/f": b"x\n"},
    ),
    Case("a layer below a file below", upper(file("etc/motd/f")), "etc/motd is not a directory"),
    Case(
        "a layer that hides all",
        upper(file(".wh..wh..opq"), file("f")),
        holds={"f": b"x\n"},
        check=is_opaque,
    ),
    Case(
        "a layer that hides what it takes",
        upper(file(".wh.etc"), hard_link("h", "etc/motd")),
        "is not there",
    ),
    Case(
        "a layer of a bomb",
        docker(gzip.compress(archive(file("z", bytes(4 << 20))).getvalue())),
        "digest",
    ),
    Case(
        "a bomb around a layer",
        lambda: gzip.compress(docker(archive(file("z", bytes(4 << 20))).getvalue())()),
        "it unpacks to over 100 times",
        limits=BOMB,
    ),
    Case("a layer that is a hole", terabyte, "it unpacks to over 1,000 times"),
    Case(
        "a flood of members",
        lambda: plain_tar({f"{n}": b"" for n in range(60)}),
        "more than 50 entries",
        limits=Limits(entries=50),
    ),
]


IMAGES = [replace(case, command=case.command.replace("import", "load")) for case in DOCKER_ARCHIVES]
