"""SIFs that ``ch-convert`` writes: their bytes, and what Apptainer's files in them do."""

from __future__ import annotations

import json
import stat
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.image.oci.config import ImageConfig
from sundog.image.sif.texts import runscript, variables_script
from tests.conftest import command, run_program
from tests.image.convert.formats import (
    CAPABILITY,
    CONFIG,
    in_archive,
    in_directory,
    in_squash,
    in_tar,
    make_layout,
    sif_descriptors,
    without_own,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER = struct.Struct("<32s10s3s3s16s8q")
EPOCH = "1500000000"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a.sif, b.sif, and later.sif, which has the present time."""
    path = tmp_path_factory.mktemp("sif")
    make_layout(path).rename(path / "oci")
    env = {"CH_IMAGE_STORAGE": str(path / "storage")}
    convert = [*command("ch-convert"), "-q"]
    run_program([*convert, "-i", "oci-dir", "./oci", "img"], env=env, cwd=path)
    for name in ("a.sif", "b.sif"):
        epoch = env | {"SOURCE_DATE_EPOCH": EPOCH}
        run_program([*convert, "img", name], env=epoch, cwd=path)
    run_program([*convert, "img", "later.sif"], env=env, cwd=path)
    return path


def test_the_layout(made: Path) -> None:
    """Header, table of descriptors, small objects, and SquashFS in a page of its own."""
    sif = (made / "a.sif").read_bytes()
    launch, magic, version, machine, uuid, created, modified, *places = HEADER.unpack_from(sif)
    free, total, table, table_size, data, size = places
    assert (launch.rstrip(b"\0"), magic, version) == (
        *(b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC\0"),
        b"01\0",
    )
    assert machine in (b"02\0", b"04\0")
    assert (uuid, created, modified) == (bytes(16), int(EPOCH), int(EPOCH))
    assert (free, total, table, table_size, data) == (44, 48, 4096, 48 * 585, 32176)
    assert data + size == len(sif)
    definition, inspected, config, system = sif_descriptors(sif)
    assert [each[:2] for each in (definition, inspected, config, system)] == [
        (0x4001, ""),
        (0x4006, "inspect-metadata.json"),
        (0x4006, "oci-config.json"),
        (0x4004, ""),
    ]
    assert definition[2] == data
    assert sif[data : data + definition[3]] == b"bootstrap: docker\nfrom: img\n\n"
    assert system[4].rstrip(b"\0") == struct.pack("<ii3s", 1, 2, machine).rstrip(b"\0")
    assert system[2] % 4096 == 0
    assert sif[system[2] :][:4] == b"hsqs"
    assert struct.unpack_from("<H", sif, system[2] + 20) == (1,)  # gzip
    text = sif[config[2] : config[2] + config[3]]
    assert ImageConfig.from_json(text).cmd == tuple(CONFIG["Cmd"])
    data_of = json.loads(sif[inspected[2] : inspected[2] + inspected[3]])
    assert data_of["type"] == "container"
    assert data_of["data"]["attributes"]["deffile"].startswith("bootstrap: docker")
    assert stat.S_IMODE((made / "a.sif").stat().st_mode) == 0o755
    done = subprocess.run(
        ["unsquashfs", "-o", str(system[2]), "-lln", made / "a.sif"],
        capture_output=True,
        check=True,
    )
    assert b"-rwsr-xr-x 3/4" in done.stdout


def test_bytes_depend_on_the_image_and_on_the_time_alone(made: Path) -> None:
    first, second, later = ((made / f"{name}.sif").read_bytes() for name in ("a", "b", "later"))
    assert first == second
    assert later != first
    assert HEADER.unpack_from(later)[4] != bytes(16)


def test_files_of_apptainer(made: Path) -> None:
    found = in_tar(in_squash(made / "a.sif"))
    for name in ("exec", "run", "shell", "start", "test"):
        assert found[b".singularity.d/actions/" + name.encode()][:4] == ("f", 0o755, 0, 0)
    assert found[b".run"][5] == b".singularity.d/actions/run"
    assert found[b"environment"][5] == b".singularity.d/env/90-environment.sh"
    assert found[b"singularity"][5] == b".singularity.d/runscript"
    labels = json.loads(found[b".singularity.d/labels.json"][5])  # type: ignore[arg-type]
    assert labels["org.label-schema.usage.singularity.deffile.from"] == "img"
    assert labels["org.label-schema.build-date"] == "Friday_14_July_2017_02:40:00_UTC"
    assert found[b".singularity.d/env/10-docker2singularity.sh"][5] == (
        b'#!/bin/sh\nexport A="${A:-"b"}"\nexport PATH="/bin"\n'
    )
    assert found[b".singularity.d/runscript"][:2] == ("f", 0o755)


def test_the_trees_of_image_sif_and_sandbox_are_equal(made: Path) -> None:
    """Path for path: kinds, owners, modes, devices, contents, times, capabilities, attributes."""
    env = {"CH_IMAGE_STORAGE": str(made / "storage")}
    image = [*command("ch-image"), "save", "--format=docker-archive", "img", "-o", "saved.tar"]
    run_program(image, env=env, cwd=made)
    sandbox = [*command("sundog"), "apptainer", "build", "--sandbox", "sandbox", "docker://img"]
    run_program(sandbox, env=env, cwd=made)
    stored, _ = in_archive(made / "saved.tar")
    in_sif, in_sandbox = in_tar(in_squash(made / "later.sif")), in_directory(made / "sandbox")
    assert without_own(in_sif) == without_own(stored) == without_own(in_sandbox)
    assert in_sif[b"bin/cap"][7] == (("security.capability", CAPABILITY),)
    added = {path: in_sif[path][:6] for path in in_sif.keys() - stored.keys()}
    told = (b"ch/owners", b".singularity.d/labels.json")
    assert {path: in_sandbox[path][:6] for path in in_sandbox.keys() - stored.keys()}.items() >= {
        item for item in added.items() if item[0] not in told
    }


def test_copies_of_a_sif_keep_its_file_system(made: Path) -> None:
    """An image that has Apptainer's files already is not changed."""
    convert, env = [*command("ch-convert"), "-q"], {"CH_IMAGE_STORAGE": str(made / "storage")}
    run_program([*convert, "./a.sif", "./tree"], env=env, cwd=made)
    run_program([*convert, "./tree", "again.sif"], env=env, cwd=made)
    assert in_tar(in_squash(made / "again.sif")) == in_tar(in_squash(made / "a.sif"))


def test_a_script_of_the_image_in_the_way(tmp_path: Path) -> None:
    """Apptainer would find no script where the image has something else."""
    (tmp_path / "tree/usr").mkdir(parents=True)
    (tmp_path / "tree/.singularity.d").write_text("")
    env = {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
    argv = [*command("ch-convert"), "-q", "./tree", "x.sif"]
    done = run_program(argv, env=env, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "/.singularity.d of the image is no directory" in done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["storage", "tree"]


SHELLS = ("bash", "dash", "busybox sh")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("entrypoint", "cmd", "words", "plain", "evaluated"),
    [
        (("printf", "%s|"), ("a b", "$HOME"), (), "a b|$HOME|", "a b|/h|"),
        (("printf", "%s|"), ("a",), ("x y", "$HOME", "q'"), "x y|$HOME|q'|", "x y|/h|q'|"),
        ((), ("printf", "%s|", 'd"q', "\\$x"), (), 'd"q|\\$x|', 'd"q|$x|'),
        ((), ("false",), ("printf", "%s|", "-n", ""), "-n||", "-n||"),
        (("printf", "[%s]"), (), ("*",), "[*]", "[*]"),
    ],
)  # fmt: skip
def test_the_runscript(  # noqa: PLR0917 - a table
    shell: str,
    entrypoint: Sequence[str],
    cmd: Sequence[str],
    words: Sequence[str],
    plain: str,
    evaluated: str,
    tmp_path: Path,
) -> None:
    """Arguments take the place of CMD; a shell evaluates all words once more, or none does."""
    script = tmp_path / "runscript"
    script.write_text(runscript(entrypoint, cmd))
    env = {"HOME": "/h", "PATH": "/usr/bin:/bin"}
    for more, expected in (({}, evaluated), ({"APPTAINER_NO_EVAL": "1"}, plain)):
        done = subprocess.run(
            [*shell.split(), script, *words], env=env | more, capture_output=True, check=True
        )
        assert done.stdout.decode() == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_variables_are_literal(shell: str) -> None:
    """Each value comes out as it is, unless the host has another one; only PATH is the image's."""
    values = {
        "A": "a b*",
        "B": "}\"'$x`id`\\",
        "C": "\\n\n",
        "PATH": "/x:$HOME",
        "not-a-name": "x",
        "HOST": "image",
    }
    script = variables_script(values) + "\n/usr/bin/env -0"
    env = {"HOST": "host", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([*shell.split(), "-c", script], env=env, capture_output=True, check=True)
    found = dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if each)
    assert {name: found[name] for name in ("A", "B", "C", "PATH")} == {
        name: values[name] for name in ("A", "B", "C", "PATH")
    }
    assert found["HOST"] == "host"
    assert "not-a-name" not in found
