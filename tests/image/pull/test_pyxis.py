"""``sundog-pyxis-importer``, called as pyxis calls it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.errors import UsageError
from sundog.front.cli.pyxis_importer import image_name
from tests.conftest import Completed, Runner, command, run_program

if TYPE_CHECKING:
    from tests.image.pull.faulty import FaultyRegistry
    from tests.image.pull.images import Shelf

Importer = Callable[..., Completed]


@pytest.fixture
def importer(storage: Path, tmp_path: Path) -> Importer:
    """Run the importer for a step of a job, as the user, with Slurm's variables and pyxis'.

    pyxis 0.24 starts ``release`` from slurmstepd when the task has ended: without SLURMD_NODENAME
    and the other variables that Slurm has for a task.
    """

    def run(*words: str, step: int = 0, check: bool = True, **env: str) -> Completed:
        environment = {
            "CH_IMAGE_STORAGE": str(storage),
            "PYXIS_RUNTIME_PATH": "/run/pyxis",
            "PYXIS_VERSION": "0.24.0",
            "SLURM_JOB_ID": "17",
            "SLURM_STEP_ID": str(step),
            "SUNDOG_PYXIS_DIR": str(tmp_path / "pyxis"),
        }
        if words[:1] == ("get",):
            environment |= {"SLURMD_NODENAME": "node1", "SLURM_NODEID": "0", "SLURM_PROCID": "0"}
        argv = [*command("sundog-pyxis-importer"), *words]
        return run_program(argv, env=environment | env, check=check)

    return run


def images_in(place: Path) -> list[Path]:
    return sorted(place.glob("*.sqfs"))


def imported(done: Completed) -> Path:
    """Return the one line that ``get`` prints."""
    (line,) = done.stdout.splitlines()
    assert os.path.isabs(line)
    return Path(line)


def test_an_image_of_a_registry(
    importer: Importer, shelf: Shelf, faulty: FaultyRegistry, tmp_path: Path
) -> None:
    shelf.image(shelf.base(), tag="group/a:1")
    first = imported(importer("get", f"docker://{faulty.host}#group/a:1"))
    listed = subprocess.run(["unsquashfs", "-l", first], capture_output=True, check=True)
    assert b"squashfs-root/ch/environment" in listed.stdout
    # Two steps of the job, and a third of another, share the data.
    second = imported(importer("get", f"docker://user@{faulty.host}#group/a:1", step=1))
    assert second != first
    assert second.samefile(first)
    importer("release")
    assert not first.exists()
    assert second.exists()
    importer("release")  # pyxis may call it twice
    importer("release", step=1)
    assert images_in(tmp_path / "pyxis") == []


def test_an_image_of_the_storage(
    importer: Importer, run_ch_image: Runner, bb: str, run_ch_run: Runner, tmp_path: Path
) -> None:
    path = imported(importer("get", "docker://bb"))  # srun --container-image=bb
    assert imported(importer("get", "bb")) == path
    assert run_ch_run(path, "--", "echo", "runs").stdout == "runs\n"
    again = imported(importer("get", "bb"))  # a requeued step
    assert again == path
    importer("release", SUNDOG_PYXIS_KEEP="1")
    (kept,) = images_in(tmp_path / "pyxis")
    before = kept.stat()
    assert imported(importer("get", "bb", step=2)).stat().st_ino == before.st_ino
    importer("release", step=2)
    assert images_in(tmp_path / "pyxis") == []


def test_failures(importer: Importer, faulty: FaultyRegistry, tmp_path: Path) -> None:
    for uri in ("nope", f"docker://{faulty.host}#nope", "podman://x", "docker://"):
        failed = importer("get", uri, check=False)
        assert failed.returncode in (1, 2), uri
        assert failed.stdout == ""
        assert "error: " in failed.stderr
        assert "Traceback" not in failed.stderr
    for words in ([], ["get"], ["release", "x"], ["put", "x"]):
        assert importer(*words, check=False).returncode == 2
    importer("release")
    assert images_in(tmp_path / "pyxis") == []
    (tmp_path / "pyxis").chmod(0o777)
    failed = importer("get", "nope", check=False)
    assert "writable to nobody else" in failed.stderr
    (tmp_path / "pyxis").chmod(0o700)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("docker://alpine", "alpine"),
        ("docker://alpine:3.20", "alpine:3.20"),
        ("docker://nvcr.io#nvidia/pytorch:23.10", "nvcr.io/nvidia/pytorch:23.10"),
        ("docker://$oauthtoken@nvcr.io#nvidia/a", "nvcr.io/nvidia/a"),
        ("docker://host:5000#a/b", "host:5000/a/b"),
        ("docker://user@alpine", "alpine"),
        ("docker://a/b@sha256:0123", "a/b@sha256:0123"),
        ("docker://nvcr.io/nvidia/a", "nvcr.io/nvidia/a"),
        ("bb", "bb"),
    ],
)
def test_uris(uri: str, name: str) -> None:
    assert image_name(uri) == name


@pytest.mark.parametrize("uri", ["dockerd://a", "docker://", "oci:///x"])
def test_wrong_uris(uri: str) -> None:
    with pytest.raises(UsageError):
        image_name(uri)
