"""Jobs of Slurm in images that pyxis, its plug-in for containers, takes from Sundog: `make pyxis`.

Other runs do not collect these tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.conftest import IMAGE, SMALL, Place, Slurm, started
from tests.cluster.test_mpi import INTERFACES, RANKS, TWO_NODES
from tests.conftest import until
from tests.image.pull.flavours import serving

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.slow

INSIDE = "test ! -e /usr/bin/srun && "  # the nodes have the host's files


@pytest.fixture(scope="session")
def pyxis(place: Place) -> Slurm:
    """Return a cluster with pyxis and Sundog's importer, with a place of its own for files."""
    one = started(place, importer=f"{place.programs}/sundog-pyxis-importer")
    variables = {**one.variables, "SUNDOG_PYXIS_DIR": str(one.directory / "pyxis")}
    return Slurm(one.directory, variables, one.nodes, one.address)


@pytest.fixture(autouse=True)
def nothing_stays(pyxis: Slurm) -> Generator[None]:
    """Check that the importer leaves no file on the nodes when a test's steps have ended."""
    yield
    place = Path(pyxis.variables["SUNDOG_PYXIS_DIR"])
    until(lambda: [path.name for path in place.iterdir()] == ["lock"], "a file stays")


def test_an_image_of_the_storage(pyxis: Slurm) -> None:
    show = INSIDE + "echo $SLURM_PROCID $(hostname) $0"
    done = pyxis.run("srun", *TWO_NODES, f"--container-image={SMALL}", "sh", "-c", show, "a 'b'")
    first, second, *_ = pyxis.nodes
    lines = [f"{rank} {node} a 'b'" for rank, node in enumerate((first, first, second, second))]
    assert sorted(done.stdout.splitlines()) == lines


def test_an_image_of_a_registry(pyxis: Slurm, tmp_path: Path) -> None:
    """``docker://`` takes the image that the registry has now."""
    with serving(tmp_path, "registry", {}, {}, pyxis.address) as host:
        settings = tmp_path / "registries.conf"
        settings.write_text(f"[[registry]]\nlocation = '{host}'\ninsecure = true\n")
        env = {"CONTAINERS_REGISTRIES_CONF": str(settings)}
        pyxis.run("ch-image", "push", SMALL, f"{host}/site/small:1", env=env)
        for image in (f"docker://{host}#site/small:1", f"{host}#site/small:1"):
            line = ("srun", "-N1", f"--container-image={image}", "sh", "-c", INSIDE + "echo right")
            assert pyxis.run(*line, env=env).stdout == "right\n"


@pytest.mark.parametrize("name", INTERFACES)
def test_ranks(pyxis: Slurm, name: str) -> None:
    # Else pyxis gives each rank of a node the PMI_RANK of the first.
    image = (f"--container-image={IMAGE}", "--container-env=PMI_RANK")
    words = ("srun", f"--mpi={INTERFACES[name]}", *TWO_NODES, *image)
    assert len(set(pyxis.ranks(*words, f"{RANKS}.{name}", count=4))) == 2


def test_mounts(pyxis: Slurm, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("content")
    mounts = f"--container-mounts={tmp_path}:/data,{tmp_path}:/only:ro"
    script = "cat /data/in >/data/out && test -e /only/out && ! touch /only/x 2>/dev/null"
    pyxis.run("srun", "-n1", f"--container-image={SMALL}", mounts, "sh", "-c", script)
    assert (tmp_path / "out").read_text() == "content"
    assert not (tmp_path / "x").exists()


def test_a_named_container(pyxis: Slurm) -> None:
    """A later step finds the container with its changes, and needs no image."""
    step = ("srun", "-n1", f"--nodelist={pyxis.nodes[0]}", "--container-name=kept")
    write = INSIDE + "echo written >/note"
    image = (f"--container-image={SMALL}", "--container-writable")
    pyxis.run(*step, *image, "sh", "-c", write)
    place = Path(pyxis.variables["SUNDOG_PYXIS_DIR"])
    assert [path.name for path in place.iterdir()] == ["lock"]  # Enroot has unpacked the file
    assert pyxis.run(*step, "cat", "/note").stdout == "written\n"


def test_a_cancelled_step(pyxis: Slurm) -> None:
    """The importer's file lives as long as the step, and goes with it."""
    line = f"srun -n2 --container-image={SMALL} sh -c 'echo runs; exec sleep 99999'"
    output = pyxis.directory / "cancelled.out"
    words = ("sbatch", "--parsable", "-N1", "-n2", f"--output={output}", f"--wrap={line}")
    job = pyxis.run(*words).stdout.strip()
    until(lambda: output.exists() and "runs" in output.read_text(), "the step does not start")
    place = Path(pyxis.variables["SUNDOG_PYXIS_DIR"])
    assert [path.suffix for path in place.iterdir()].count(".sqfs") == 2  # the data, and a link
    pyxis.run("scancel", job)


def test_a_batch_script(pyxis: Slurm) -> None:
    script, output = pyxis.directory / "script", pyxis.directory / "script.out"
    script.write_text(f"#!/bin/sh\n{INSIDE}echo inside\n")
    words = ("sbatch", "--wait", f"--container-image={SMALL}", f"--output={output}", script)
    pyxis.run(*words)
    assert output.read_text().splitlines()[-1] == "inside"


def test_a_configuration(pyxis: Slurm, tmp_path: Path) -> None:
    """A step has ENV, WORKDIR and VOLUME of the image, and on demand its ENTRYPOINT."""
    (tmp_path / "Dockerfile").write_text(
        f"FROM {SMALL}\n"
        'ENV WORD="a \\"b\\"" PATH=/opt/own:/bin\n'
        "WORKDIR /work\nVOLUME /scratch\n"
        'ENTRYPOINT ["sh", "-c", "echo entered; exec \\"$@\\"", "sh"]\n'
    )
    pyxis.run("ch-image", "build", "-t", "configured", tmp_path)
    step = ("srun", "-n1", "--container-image=configured")
    show = ("sh", "-c", 'echo "$WORD $PATH $PWD"; touch /scratch/file')
    configured = 'a "b" /opt/own:/bin /work\n'
    assert pyxis.run(*step, "--no-container-entrypoint", *show).stdout == configured
    entered = pyxis.run(*step, "--container-entrypoint", "--container-entrypoint-log", *show)
    assert entered.stdout == configured
    assert "entered" in entered.stderr


def test_no_such_image(pyxis: Slurm) -> None:
    done = pyxis.run("srun", "-n1", "--container-image=nope", "true", check=False)
    assert done.returncode != 0
    assert "cannot import the image: ch-image failed" in done.stderr
