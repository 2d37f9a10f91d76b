"""``build --cache-to`` and ``--cache-from``: results that other stores made."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from sundog.image.store.store import Store
from tests.conftest import copy_storage, run_program, runner
from tests.image.builder.conftest import Workshop, announced
from tests.image.builder.test_retry import CHECKED, runs
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.conftest import Completed

DOCKERFILE = """\
FROM bb AS tools
COPY tool /tool
RUN cat /proc/sys/kernel/random/uuid >/when
FROM tools AS unused-files
RUN echo big >/big
FROM bb
ENV A=1
WORKDIR /w
COPY --from=tools /when /when
RUN --mount=from=unused-files,target=/mnt cat /mnt/big >/small
RUN true
COPY --link tool /linked
VOLUME /v
CMD ["x"]
"""
REPO = "team/cache"
STEPS = 9  # with an entry


class Shared:
    """A registry, and stores with the image ``bb`` and nothing else."""

    def __init__(self, directory: Path, imported: Path, registry: InProcessRegistry) -> None:
        self.registry = registry
        self.repo = f"{registry.host}/{REPO}"
        self._directory = directory
        self._imported = imported
        self._count = 0

    def store(self, *, is_empty: bool = False) -> Workshop:
        """Return a workshop with a store of its own, and the same context."""
        self._count += 1
        place = self._directory / f"{self._count}"
        place.mkdir()
        if not is_empty:
            copy_storage(self._imported, place / "storage")
        made = Workshop(
            place, runner("ch-image", place / "storage"), runner("ch-run", place / "storage")
        )
        made.write({"tool": "#!/bin/sh\n", "d/file": "1"})
        return made

    def tags(self) -> set[str]:
        """Return the tags in the repository."""
        return {name for _, name in self.registry.manifests if ":" not in name}

    def fetched(self) -> list[str]:
        """Return the digests of the layers that were fetched, and forget all requests."""
        layers = {
            layer["digest"]
            for _, content in self.registry.manifests.values()
            for layer in json.loads(content)["layers"]
        }
        found = [
            request.rpartition("/")[2]
            for request in self.registry.requests
            if request.startswith("GET") and request.rpartition("/")[2] in layers
        ]
        self.registry.requests.clear()
        return found


@pytest.fixture
def registry() -> Generator[InProcessRegistry]:
    """Return an empty registry."""
    with InProcessRegistry().serve() as serving:
        yield serving


@pytest.fixture
def shared(
    tmp_path: Path, storage_with_busybox: Callable[[str], Path], registry: InProcessRegistry
) -> Shared:
    """Return a registry and a maker of stores."""
    return Shared(tmp_path, storage_with_busybox(""), registry)


def keys(done: Completed) -> list[str]:
    """Return the portable keys that a build found, in order."""
    return re.findall(r"found in \S+: ([0-9a-f]{64})", done.stderr)


def statuses(done: Completed) -> str:
    return "".join(status for _, status, _ in announced(done)).replace(" ", "_")


def test_another_store_takes_all_results(shared: Shared) -> None:
    one, two = shared.store(), shared.store()
    one.build(DOCKERFILE, "--cache-to", shared.repo)
    assert len(shared.tags()) == STEPS
    shared.registry.requests.clear()

    second = two.build(DOCKERFILE, "-v", "--cache-from", shared.repo)
    assert set(keys(second)) == shared.tags()
    assert two.run("cat /when /small; ls -d /w /v /linked") == one.run(
        "cat /when /small; ls -d /w /v /linked"
    )
    # Of the two stages that nothing runs in, no layer came.
    assert len(shared.fetched()) == 5
    assert second.stderr.count("fetching") == 1
    # The next build asks nobody.
    two.build(DOCKERFILE, "--cache-from", shared.repo, tag="again")


def test_an_empty_store_fetches_what_the_image_has(shared: Shared) -> None:
    """The base of the first stage is needed by nobody: not one of its layers comes."""
    host = shared.registry.host
    one, two = shared.store(), shared.store(is_empty=True)
    one.ch_image("push", "bb", f"{host}/team/base")
    one.build("FROM bb\nRUN echo tools >/tools\n", tag="tools")
    one.ch_image("push", "tools", f"{host}/team/tools")
    dockerfile = f"""\
FROM {host}/team/tools AS build
RUN cp /tools /made
FROM {host}/team/base
COPY --from=build /made /made
"""
    one.build(dockerfile, "--cache-to", shared.repo)
    shared.registry.requests.clear()
    done = two.build(dockerfile, "--cache-from", shared.repo)
    assert statuses(done) == ".*.*"
    assert two.run("cat /made") == "tools\n"
    assert len(shared.fetched()) == 2
    assert two.ch_image("list").stdout.split() == ["img", f"{host}/team/base"]
    # A step that runs needs the files of its stage, and of the one that it copies from.
    changed = dockerfile.replace("/made /made", "/made /other")
    done = two.build(changed, "--cache-from", shared.repo)
    assert statuses(done) == ".**."
    assert len(shared.fetched()) == 2
    assert two.run("cat /other") == "tools\n"


SIX_STAGES = """\
FROM {base} AS common
RUN head -c 200000 /dev/urandom >/tools
FROM common AS one
RUN head -c 100000 /dev/urandom >/one.o
RUN echo one >/one
FROM common AS two
RUN echo two >/two
FROM {base} AS data
COPY d /d
FROM data AS checked
RUN echo good >/good
FROM {base}
COPY --from=one /one /one
COPY --from=two /two /two
COPY --from=checked /good /d /
RUN cat /one /two >/both
"""


def test_no_more_bytes_than_the_image_has(shared: Shared) -> None:
    """An empty store, and a Dockerfile all of whose results are in the cache."""
    host = shared.registry.host
    one, two = shared.store(), shared.store(is_empty=True)
    one.ch_image("push", "bb", f"{host}/team/base")
    dockerfile = SIX_STAGES.format(base=f"{host}/team/base")
    one.build(dockerfile, "--cache-to", shared.repo)
    one.ch_image("push", "img", f"{host}/team/result")
    _, content = shared.registry.manifests["team/result", "latest"]
    needed = {layer["digest"] for layer in json.loads(content)["layers"]}
    shared.registry.requests.clear()
    done = two.build(dockerfile, "--cache-from", shared.repo)
    assert not re.findall(r"^ *\d+\. (?:RUN|COPY).*", done.stderr, re.MULTILINE)
    assert sorted(shared.fetched()) == sorted(needed)


def test_no_more_requests_than_buildah(shared: Shared) -> None:
    """buildah gets manifest and configuration for each instruction, and all layers of all stages.

    `make bench ARGS=--shared-cache` counts both programs' requests.
    """
    host = shared.registry.host
    one, two = shared.store(), shared.store(is_empty=True)
    one.ch_image("push", "bb", f"{host}/team/base")
    dockerfile = DOCKERFILE.replace("FROM bb", f"FROM {host}/team/base")
    one.build(dockerfile, "--cache-to", shared.repo)
    shared.registry.requests.clear()
    done = two.build(dockerfile, "--cache-from", shared.repo)
    requests = len(shared.registry.requests)
    instructions = sum(not text.startswith("FROM") for _, _, text in announced(done))
    layers = 1 + STEPS
    assert shared.registry.count("GET /v2/team/cache/manifests/.*") == STEPS
    assert shared.registry.count("(HEAD|POST|PUT).*/team/cache/.*") == 0
    assert requests <= 2 * STEPS + len(shared.fetched()) + 4  # the base: two documents, at most
    assert requests <= 2 * instructions + layers + 3


def test_blobs_are_mounted(shared: Shared) -> None:
    """The layers of the image come from the cache's repository, and the other way round."""
    host = shared.registry.host
    one, two = shared.store(), shared.store()
    dockerfile = "FROM bb\nCOPY d /d\n"
    one.build(dockerfile, "--cache-to", shared.repo)
    two.build(dockerfile, "--cache-from", shared.repo)
    two.ch_image("push", "img", f"{host}/team/app")
    assert shared.registry.count(r"POST .*mount=.*from=team%2Fcache") == 1
    (one.context / "d/file").write_text("2")
    one.build(dockerfile)
    one.ch_image("push", "img", f"{host}/team/other")
    one.build(dockerfile, "--cache-to", shared.repo)
    assert shared.registry.count(r"POST /v2/team/cache/.*mount=.*from=team%2Fother") == 1


SHORT = """\
FROM bb AS one
COPY d /d
FROM bb
ARG A=1
COPY --from=one /d/file /f
RUN --mount=from=one,source=d,target=/mnt echo $A /mnt/* >/g
"""


def test_what_decides_about_a_key(shared: Shared, tmp_path: Path) -> None:
    """Dry runs in fresh stores, of which each finds what it can up to the first miss."""
    place = tmp_path / "layout"
    one, two = shared.store(), shared.store()
    one.build(SHORT, "--cache-to", f"type=local,dest={place}")

    def found(dockerfile: str, *options: str) -> str:
        source = f"--cache-from=type=local,src={place}"
        return statuses(two.build(dockerfile, "-n", source, *options))

    everything = "***.**"  # whether ARG is new, only the store knows
    (two.context / "d/file").touch()
    (two.context / "unrelated").touch()
    renamed = SHORT.replace("AS one", "AS two").replace("=one", "=two")
    assert found(renamed, "--label=a=b") == everything
    for changed, options in (
        (SHORT, ["--build-arg=A=2"]),
        (SHORT, ["--force=none"]),
        (SHORT.replace("target=/mnt ", "target=/mnt,rw "), []),
        (SHORT.replace("RUN", "ENV B=2\nRUN"), []),
    ):
        assert found(changed, *options)[-1] == ".", (changed, options)
    (two.context / "d/file").write_text("2")
    assert found(SHORT) == "*.*..."


def test_a_miss_computes_no_digest_in_vain(shared: Shared) -> None:
    """Beside a result that was made now, nothing is looked up: its digest is new."""
    done = shared.store().build(
        "FROM bb\nRUN echo >/a\nRUN echo >/b\nCOPY d /d\n", "--cache-from", shared.repo
    )
    assert statuses(done) == "*..."
    # The first RUN's key, and the notes about a second try of it: one request each.
    assert shared.registry.count("GET /v2/team/cache/manifests/.*") == 3
    assert len(shared.registry.requests) == 3


def test_a_layout_has_images(shared: Shared, tmp_path: Path) -> None:
    """Another program reads each entry, and its layer; so does another store."""
    place = tmp_path / "layout"
    one, two = shared.store(), shared.store()
    one.build(SHORT, "--cache-to", f"type=local,dest={place},compression=zstd,mode=max")
    index = json.loads((place / "index.json").read_bytes())
    names = [
        entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]
    ]
    assert len(names) == 3
    for name in names:
        copied = ("skopeo", "--insecure-policy", "copy", "-q", f"oci:{place}:{name}")
        run_program([*copied, f"oci-archive:{tmp_path}/{name}.tar"])
    done = two.build(SHORT, "--cache-from", f"type=local,src={place}")
    assert statuses(done) == "***.**"
    assert two.run("cat /f /g") == one.run("cat /f /g")


def test_a_second_try_is_known_to_the_other_store(shared: Shared) -> None:
    """It does not repeat the failure, and remembers that without the shared cache."""
    one, two = shared.store(), shared.store()
    assert runs(one.build(CHECKED, "--cache-to", shared.repo)) == [".S", ".S", ".C"]
    later = CHECKED.replace("later", "again")
    done = two.build(later, "--cache-from", shared.repo)
    assert runs(done) == ["*S", "*C", ".C"]
    assert done.stdout == "again 5:6\n"
    assert runs(two.build(later)) == ["*S", "*C", "*C"]


def test_that_a_build_began_again_is_known_to_the_other_store(shared: Shared) -> None:
    """Under notify, the cache has all of its steps: none is run on the way there."""
    one, two = shared.store(), shared.store()
    dockerfile = (
        "FROM bb\nRUN touch /a; chown 5:6 /a\n"
        'RUN touch /c; chown 5:6 /c; test "$(stat -c %u:%g /c)" = 5:6\n'
        'RUN test "$(stat -c %u:%g /a)" = 5:6\nRUN echo later\n'
    )
    assert "building again from the start under notify" in (
        one.build(dockerfile, "--cache-to", shared.repo).stderr
    )
    done = two.build(dockerfile.replace("later", "other"), "--cache-from", shared.repo)
    assert runs(done) == ["*S", "*C", "*C", "*C", "*C", ".C"]
    assert "building from the start under notify" in done.stderr


def test_sundog_build_has_the_options(shared: Shared) -> None:
    one, two = shared.store(), shared.store()
    for workshop, option in ((one, "--cache-to"), (two, "--cache-from")):
        path = workshop.context.parent / "Dockerfile"
        path.write_text("FROM bb\nCOPY d /d\n")
        sundog = runner("sundog", workshop.context.parent / "storage")
        words = [f"{option}={shared.repo}", "--cache-ttl", "1h", "-t", "x"]
        done = sundog("build", "--force=seccomp", *words, "-f", path, workshop.context)
        assert len(shared.tags()) == 1
        assert statuses(done) == ("*." if workshop is one else "**")


def test_a_layer_comes_with_what_its_tar_does_not_say(shared: Shared) -> None:
    """Owners that seccomp forgot are as doubtful in the other store."""
    one, two = shared.store(), shared.store()
    dockerfile = "FROM bb\nRUN echo >/a; chown 7 /a\nCOPY d /d\n"
    one.build(dockerfile, "--cache-to", shared.repo)
    two.build(dockerfile, "--cache-from", shared.repo)
    found = []
    for workshop in (one, two):
        with Store.open(str(workshop.context.parent / "storage")) as store:
            infos = [store.layers.info(layer) for layer in store.images.get("img").layers]
            found.append([(info.guessed, info.unrecorded, info.instruction) for info in infos[1:]])
    assert found[0] == found[1]
    assert [marks[:2] for marks in found[0]] == [(True, True), (False, False)]
