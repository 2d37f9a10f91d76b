"""Snakemake: rules with a shell line, and with a script for the image's Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.callers.engines.conftest import PYTHON, owned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.callers.engines.conftest import Site

RULES = """
container: "docker://IMAGE"
rule all:
    input: "out.txt", "py.txt"
rule shell:
    output: "out.txt"
    shell: "echo hello $IMAGE >{output}; id -u >>{output}"
rule script:
    output: "py.txt"
    script: "s.py"
rule fails:
    output: "never.txt"
    shell: "echo x >{output}; exit 3"
"""
SCRIPT = 'import os\nopen(snakemake.output[0], "w").write(os.environ["IMAGE"])\n'
LINE = ["snakemake", "--sdm", "apptainer", "--cores", "1", "--apptainer-args", "-B /opt"]


@pytest.fixture(scope="module")
def image(site: Site, debian_tar: Path) -> str:
    return site.push("python", debian_tar, PYTHON)


@pytest.fixture
def project(image: str, tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(RULES.replace("IMAGE", image, 1))
    (tmp_path / "s.py").write_text(SCRIPT)
    return tmp_path


def test_rules(site: Site, project: Path) -> None:
    site.run("snakemake", *LINE, cwd=project)
    assert owned(project / "out.txt") == f"hello is here\n{project.stat().st_uid}\n"
    assert owned(project / "py.txt") == "is here"
    images = list((project / ".snakemake/singularity").glob("*.simg"))
    assert len(images) == 1


def test_a_rule_that_fails(site: Site, project: Path) -> None:
    """Snakemake removes what the rule has made, as the user can."""
    done = site.run("snakemake", *LINE, "never.txt", cwd=project, check=False)
    assert done.returncode == 1
    assert "exit code 3" in done.stdout + done.stderr or "exited with" in done.stdout + done.stderr
    assert not (project / "never.txt").exists()
