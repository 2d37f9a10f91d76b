"""HPC Container Maker writes a definition file of two stages, and Sundog builds it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.callers.engines.conftest import Site

RECIPE = """
Stage0 += baseimage(image='{image}', _as='build', _distro='ubuntu22')
Stage0 += copy(src='a.sh', dest='/src/a.sh')
Stage0 += environment(variables={{'A': 'b'}})
Stage0 += label(metadata={{'x': 'y'}})
Stage0 += shell(commands=['sed s/WHO/world/ /src/a.sh >/a', 'chmod 755 /a', 'chown 1:2 /a'])
Stage1 += baseimage(image='{image}', _distro='ubuntu22')
Stage1 += copy(_from='build', src='/a', dest='/opt/a')
Stage1 += environment(variables={{'A': 'b'}})
Stage1 += runscript(commands=['/opt/a'])
"""


def test_a_recipe_of_two_stages(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text('#!/bin/sh\necho hello WHO "$A" "$@"\n')
    (tmp_path / "recipe.py").write_text(RECIPE.format(image=site.small))
    words = ["--recipe", "recipe.py", "--format", "singularity", "--singularity-version", "3.7"]
    definition = site.run("hpccm", "hpccm", *words, cwd=tmp_path).stdout
    (tmp_path / "a.def").write_text(definition)
    site.run("hpccm", "singularity", "build", "a.sif", "a.def", cwd=tmp_path)
    done = site.run("hpccm", tmp_path / "a.sif", "x  y", cwd=tmp_path)
    assert done.stdout == "hello world b x  y\n"
    assert (tmp_path / "a.sif").stat().st_uid == os.geteuid()
