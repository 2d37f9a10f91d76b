"""shpc installs containers as modules: a container, and the wrapper of a program of it."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from tests.callers.engines.conftest import CALLERS, owned

if TYPE_CHECKING:
    from tests.callers.engines.conftest import Site

RECIPE = """\
docker: {host}/lab/small
url: https://example.com
maintainer: "@nobody"
description: a test
latest: {{"1": "{digest}"}}
tags: {{"1": "{digest}"}}
aliases:
  show: /bin/env
env:
  FROM_RECIPE: "yes"
"""
DIRECTORIES = ("module_base", "container_base", "wrapper_base", "views_base")


def digest_of(site: Site) -> str:
    """Return the digest that the registry has for the image."""
    request = urllib.request.Request(
        f"http://{site.registry}/v2/lab/small/manifests/1",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        method="HEAD",
    )
    with urllib.request.urlopen(request) as answer:
        digest: str = answer.headers["Docker-Content-Digest"]
    return digest


def test_a_module_and_its_wrapper(site: Site, tmp_path: Path) -> None:
    recipe = tmp_path / "registry/lab/small"
    recipe.mkdir(parents=True)
    digest = digest_of(site)
    (recipe / "container.yaml").write_text(RECIPE.format(host=site.registry, digest=digest))
    settings = {name: tmp_path / name for name in DIRECTORIES} | {
        "registry": f"[{recipe.parents[1]}]"
    }
    (default,) = Path(CALLERS, "shpc").glob("lib/*/site-packages/shpc/settings.yml")
    text = default.read_text()
    for name, value in settings.items():
        text, count = re.subn(f"^{name}:.*", f"{name}: {value}", text, flags=re.MULTILINE)
        assert count == 1
    (tmp_path / "settings.yml").write_text(text)
    words = ["--settings-file", "settings.yml", "install", "lab/small:1"]
    site.run("shpc", "shpc", *words, cwd=tmp_path)
    (wrapper,) = tmp_path.rglob("bin/show")
    lines = site.run("shpc", "bash", wrapper, cwd=tmp_path).stdout.splitlines()
    assert {"IMAGE=is here", "FROM_RECIPE=yes"} <= set(lines)
    made = tmp_path / "made"
    site.run("shpc", "bash", wrapper, "touch", made, cwd=tmp_path)
    assert owned(made) == ""
    (image,) = tmp_path.rglob("*.sif")
    assert image.name.endswith(f"lab-small-1-{digest}.sif")
