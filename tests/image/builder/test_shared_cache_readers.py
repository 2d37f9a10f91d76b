"""Entries of shared caches in docker-registry, and as other programs read them."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import run_program
from tests.image.builder.test_shared_cache import DOCKERFILE, STEPS, registry, shared, statuses
from tests.image.pull.conftest import engine, flavours, no_logins, tls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.test_shared_cache import Shared
    from tests.image.pull.flavours import Flavours

__all__ = ["flavours", "no_logins", "registry", "shared", "tls"]

SMALL = "FROM bb\nCOPY d /d\nRUN echo made >/made\nRUN true\n"


def tags(repo: str) -> list[str]:
    """Return the tags of a repository, as skopeo lists them."""
    found = run_program(["skopeo", "list-tags", "--tls-verify=false", f"docker://{repo}"]).stdout
    listed: list[str] = json.loads(found)["Tags"]
    return listed


def test_docker_registry_keeps_results(shared: Shared, flavours: Flavours) -> None:
    """Its version 2; from it, another store has all results, and so has the next job."""
    one, two = shared.store(), shared.store()
    repo = f"{flavours.http}/kept/cache"
    done = one.build(DOCKERFILE, "--cache-from", repo, "--cache-to", repo)
    assert "warning: " not in done.stderr
    assert "the tag" not in done.stderr
    assert len(tags(repo)) == STEPS
    done = two.build(DOCKERFILE, "--cache-from", repo, "--cache-to", repo)
    assert "warning: " not in done.stderr
    assert statuses(done) == "******.******."  # only the store knows whether ENV and CMD are new
    assert two.run("cat /when /small") == one.run("cat /when /small")


@pytest.mark.slow
@pytest.mark.parametrize("program", ["podman", "buildah"])
def test_engines_pull_entries(
    shared: Shared, flavours: Flavours, tmp_path: Path, program: str
) -> None:
    """They give no local name of 64 digits to an image, so not from a layout; skopeo reads that."""
    repo = f"{flavours.http}/{program}/cache"
    shared.store().build(SMALL, "--cache-to", repo)
    run = engine(program, tmp_path)
    found = tags(repo)
    assert len(found) == 3
    for key in found:
        run("pull", "-q", "--tls-verify=false", f"{repo}:{key}")
    listed = json.loads(run("images", "--json" if program == "buildah" else "--format=json"))
    assert len(listed) == len(found)


def test_skopeo_reads_the_files_of_an_entry(
    shared: Shared, flavours: Flavours, tmp_path: Path
) -> None:
    repo = f"{flavours.http}/skopeo/cache"
    shared.store().build(SMALL, "--cache-to", repo)
    copying = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
    contents: dict[str, list[str]] = {}
    for key in tags(repo):
        run_program([*copying, f"docker://{repo}:{key}", f"dir:{tmp_path}/{key}"])
        manifest = json.loads((tmp_path / key / "manifest.json").read_bytes())
        config = json.loads((tmp_path / key / manifest["config"]["digest"][7:]).read_bytes())
        (layer,) = manifest["layers"]
        with tarfile.open(tmp_path / key / layer["digest"][7:]) as tar:
            contents[config["history"][-1]["created_by"]] = tar.getnames()
    assert contents["RUN.S echo made >/made"] == [".", "made"]
    assert contents["RUN.S true"] == []
    assert "d/file" in contents["COPY ['d'] -> '/d'"]
