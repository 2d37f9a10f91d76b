"""JupyterLab and nbclient of PyPI: a notebook whose kernel runs in an image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.callers.engines.conftest import owned
from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.callers.engines.conftest import Site

IMAGE = """\
FROM base
RUN apt-get -q update && apt-get install -qy --no-install-recommends python3-ipykernel
ENV IMAGE="is here"
"""
INTERRUPTED = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""
CELLS = (
    "import os, platform\nprint(os.environ['IMAGE'], os.getcwd())",
    "open('made', 'w').write('by the kernel')",
    INTERRUPTED,
)
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": text,
        }
        for number, text in enumerate(CELLS)
    ],
    "metadata": {"kernelspec": {"name": "lab", "display_name": "lab"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture(scope="module")
def image(site: Site, debian_tar: Path) -> str:
    """Return an image with a kernel, which is installed for the site's Jupyter as ``lab``."""
    name = site.push("jupyter", debian_tar, IMAGE)
    where = site.home
    site.run("jupyter", *command("ch-image"), "pull", name, cwd=where)
    site.run("jupyter", *command("sundog"), "kernel", "install", "--name", "lab", name, cwd=where)
    return name


@pytest.mark.usefixtures("image")
def test_a_notebook(site: Site) -> None:
    """nbclient runs all cells; the kernel is where the notebook is, and can be interrupted."""
    work = site.home / "work"
    work.mkdir()
    (work / "n.ipynb").write_text(json.dumps(NOTEBOOK))
    line = ["jupyter", "execute", "--inplace", "--kernel_name=lab", "n.ipynb"]
    site.run("jupyter", *line, cwd=work)
    cells = json.loads((work / "n.ipynb").read_text())["cells"]
    printed = ["".join(out.get("text", "")) for cell in cells for out in cell["outputs"]]
    assert printed[0] == f"is here {work}\n"
    assert printed[-1] == "interrupted\n"
    assert owned(work / "made") == "by the kernel"


def test_jupyterlab_knows_it(site: Site, image: str) -> None:
    done = site.run("jupyter", "jupyter", "kernelspec", "list", "--json", cwd=site.home)
    spec = json.loads(done.stdout)["kernelspecs"]["lab"]["spec"]
    assert spec["display_name"].endswith(f"({image})")
    site.run("jupyter", "jupyter", "lab", "--version", cwd=site.home)
