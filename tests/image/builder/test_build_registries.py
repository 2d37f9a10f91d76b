"""``build --push``, ``--pull``, ``--retry``, ``--no-cache-filter`` against a registry in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.image.builder.conftest import announced
from tests.image.registry.servers import InProcessRegistry, Refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Completed
    from tests.image.builder.conftest import Workshop

NOTHING = {"HOME": "/nonexistent", "CH_IMAGE_AUTH": "", "REGISTRY_AUTH_FILE": "/nonexistent/x"}


@pytest.fixture
def registry() -> Iterator[InProcessRegistry]:
    with InProcessRegistry().serve() as registry:
        yield registry


@pytest.fixture
def shop(any_workshop: Workshop) -> Workshop:
    any_workshop.write({"a": "one\n"})
    return any_workshop


def build(
    shop: Workshop, dockerfile: str, *options: str, tag: str = "img", check: bool = True
) -> Completed:
    return shop.build(dockerfile, *options, tag=tag, check=check, env=NOTHING)


def test_push(shop: Workshop, registry: InProcessRegistry) -> None:
    """Each name is pushed; type=registry pushes its own name; each is in storage, too."""
    first, second, third = (f"{registry.host}/{name}:1" for name in ("a", "b", "c"))
    dockerfile = "FROM scratch\nCOPY a /\n"
    done = build(
        shop, dockerfile, "--push", "-t", second, "-o", f"type=registry,name={third}", tag=first
    )
    contents = {registry.manifests[name, "1"][1] for name in ("a", "b", "c")}
    assert len(contents) == 1
    assert json.loads(contents.pop())["layers"]
    assert "pushed:" in done.stderr
    assert {first, second, third} <= set(shop.ch_image("list").stdout.split())


@pytest.mark.parametrize("compression", ["none", "zstd", "zstd:chunked", "estargz"])
def test_compression(shop: Workshop, registry: InProcessRegistry, compression: str) -> None:
    """It is as that of ``push``, and that of each --output is its own."""
    first, second, third = (f"{registry.host}/{name}:1" for name in ("a", "b", "c"))
    output = f"--output=type=registry,name={second}"
    words = ("--push", f"--compression={compression}", output)
    build(shop, "FROM scratch\nCOPY a /\n", *words, tag=first)
    shop.ch_image("push", f"--compression={compression}", first, third, env=NOTHING)
    assert registry.manifests["a", "1"] == registry.manifests["c", "1"]
    shop.ch_image("push", first, third, env=NOTHING)
    assert registry.manifests["b", "1"] == registry.manifests["c", "1"]
    assert registry.manifests["a", "1"] != registry.manifests["b", "1"]
    # --push alone leaves it to an --output.
    output = f"--output=type=registry,compression={compression.replace('none', 'uncompressed')}"
    build(shop, "FROM scratch\nCOPY a /\n", "--push", output, tag=third)
    shop.ch_image("push", f"--compression={compression}", third, first, env=NOTHING)
    assert registry.manifests["a", "1"] == registry.manifests["c", "1"]


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (("--compression=zstd",), "there is no --push", "hint: add --push; an --output has"),
        (("--compression=", "-o", "type=cacheonly"), "there is no --push", "hint: add --push"),
        (("--push", "--compression=lz4"), "lz4", "hint: "),
        (("--push", "--compression="), "", "hint: "),
        (
            ("--push", "--compression=zstd", "-o", "type=registry"),
            "registry.invalid/a: two compressions: gzip and zstd",
            "hint: give each a name of its own",
        ),
    ],
)
def test_a_wrong_compression(
    shop: Workshop, *, options: tuple[str, ...], error: str, hint: str
) -> None:
    """It is told before the first instruction."""
    dockerfile = "FROM scratch\nCOPY a /\n"
    done = build(shop, dockerfile, *options, tag="registry.invalid/a", check=False)
    assert done.returncode == 2
    assert error in done.stderr
    assert hint in done.stderr
    assert "COPY" not in done.stderr


def test_a_push_needs_a_name(shop: Workshop) -> None:
    path = shop.context.parent / "Dockerfile"
    path.write_text("FROM scratch\nCOPY a /\n")
    done = shop.ch_image("build", "--push", "-f", path, shop.context, check=False)
    assert done.returncode == 2
    assert "no name to push to" in done.stderr
    assert "COPY" not in done.stderr


def test_policies(shop: Workshop, registry: InProcessRegistry) -> None:
    """The registry's newer image is taken, or not; a registry that fails is an error, or not."""
    base = f"{registry.host}/base:1"
    build(shop, "FROM scratch\nCOPY a /old\n", "--push", tag=base)
    build(shop, "FROM scratch\nCOPY a /new\n", tag="other")
    push = shop.ch_image("push", "other", base, env=NOTHING)
    assert "done" in push.stderr
    dockerfile = f"FROM {base} AS one\nFROM {base}\nCOPY --from=one /new /copied\n"
    for options, status, requests in (
        (("--pull=missing",), 1, 0),
        (("--pull=never",), 1, 0),
        (("--pull",), 0, 1),
        (("--pull=newer",), 0, 1),
    ):
        registry.requests.clear()
        done = build(shop, dockerfile, *options, check=False)
        assert done.returncode == status, (options, done.stderr)
        asked = registry.count(r"(GET|HEAD) /v2/base/manifests/1")
        assert (asked > 0) == bool(requests), options
        assert asked <= 2  # each base once

    def refuse(request: str) -> None:
        if "manifests" in request:
            raise Refuse(500)

    registry.before = refuse
    failed = build(shop, dockerfile, "--pull", "--retry=0", check=False)
    assert failed.returncode == 1
    assert "is in storage, but pulling it failed" in failed.stderr
    assert "--pull=newer" in failed.stderr
    done = build(shop, dockerfile, "--pull=newer", "--retry=0")
    assert "taken as it is in storage" in done.stderr


def test_never(shop: Workshop, registry: InProcessRegistry) -> None:
    done = build(shop, f"FROM {registry.host}/none:1\n", "--pull=never", check=False)
    assert done.returncode == 1
    assert "not in storage" in done.stderr
    assert not registry.requests


@pytest.mark.parametrize("count", [0, 2])
def test_retry(shop: Workshop, registry: InProcessRegistry, count: int) -> None:
    def refuse(_: str) -> None:
        raise Refuse(503)

    registry.before = refuse
    done = build(shop, f"FROM {registry.host}/x:1\n", f"--retry={count}", check=False)
    assert done.returncode == 1
    asked = [registry.requests.count(request) for request in set(registry.requests)]
    assert max(asked) == count + 1, registry.requests


def test_filter(shop: Workshop) -> None:
    """The instructions of these stages run again; the others come from the cache."""
    dockerfile = (
        "FROM scratch AS one\nCOPY a /1\nFROM scratch AS two\nCOPY a /2\nFROM scratch\n"
        "COPY --from=one /1 /\nCOPY --from=two /2 /\n"
    )
    build(shop, dockerfile)
    for name, marks in (("one", "*.**"), ("TWO", "***."), ("one,1", "*.*."), ("2", "****")):
        done = build(shop, dockerfile, f"--no-cache-filter={name}")
        found = "".join(status for _, status, _ in announced(done))
        assert found[:4] == marks, name
        assert found[5:] == ("*." if name == "TWO" else ".."), name  # one's files are the same
    failed = build(shop, dockerfile, "--no-cache-filter=ona", check=False)
    assert failed.returncode == 2
    assert "--no-cache-filter: no such stage: ona" in failed.stderr
    assert "did you mean one?" in failed.stderr


@pytest.mark.parametrize(
    ("option", "message", "hint"),
    [
        ("--pull=allways", "--pull=allways: no such policy", "did you mean always?"),
        ("--pull=x", "--pull=x: no such policy", "one of: always, missing, never, newer"),
        ("--retry=-1", "not a number of times: -1", "ch-image build --help"),
        ("--retry=x", "not a number of times: x", "ch-image build --help"),
    ],
)
def test_mistakes(shop: Workshop, option: str, message: str, hint: str) -> None:
    done = build(shop, "FROM scratch\n", option, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert hint in done.stderr


def test_inspect_remote(shop: Workshop, registry: InProcessRegistry) -> None:
    """The document is printed byte for byte, by one request, and storage gets nothing."""
    name = f"{registry.host}/a:1"
    build(shop, "FROM scratch\nCOPY a /\n", "--push", "--annotation=x=y", tag=name)
    shop.ch_image("delete", name)
    registry.requests.clear()
    done = shop.ch_image("inspect", "--remote", name, env=NOTHING)
    assert done.stdout.encode() == registry.manifests["a", "1"][1]
    assert json.loads(done.stdout)["annotations"] == {"x": "y"}
    assert registry.count("GET .*manifests.*") == 1
    assert name not in shop.ch_image("list").stdout
    for wrong, status, message in (
        ([f"{registry.host}/none:1"], 1, "none"),
        ([name, name], 2, "--remote: not the name of one image"),
        ([f"{registry.host}/*"], 2, "--remote: not the name of one image"),
    ):
        failed = shop.ch_image("inspect", "--remote", *wrong, env=NOTHING, check=False)
        assert failed.returncode == status
        assert message in failed.stderr
        assert not failed.stdout
