"""``sundog apptainer inspect``, ``run-help`` and ``sif``."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Completed, command, run_program
from tests.image.convert.formats import make_layout, make_sif, sif_descriptors

if TYPE_CHECKING:
    from pathlib import Path

HELP = "Help of it.\n"
SCRIPTS = {
    ".singularity.d/runscript": "#!/bin/sh\necho run\n",
    ".singularity.d/startscript": "#!/bin/sh\necho start\n",
    ".singularity.d/test": "#!/bin/sh\necho test\n",
    ".singularity.d/runscript.help": HELP,
    ".singularity.d/Singularity": "bootstrap: docker\nfrom: x\n",
    ".singularity.d/labels.json": '{"b": "2", "a": "1"}',
    ".singularity.d/env/01-base.sh": "#!/bin/sh\n",
    ".singularity.d/env/10-docker2singularity.sh": "export A=1\n",
    ".singularity.d/env/90-environment.sh": "export B=2\n",
    "scif/apps/one/scif/runscript": "echo one\n",
    "scif/apps/one/scif/runscript.help": "Help of one.\n",
    "scif/apps/one/scif/labels.json": '{"k": "v"}',
    "scif/apps/one/scif/env/90-environment.sh": "export C=3\n",
    "scif/apps/two/scif/test": "true\n",
}


class Place:
    """A directory with a sandbox, its SIF, and the image img in storage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {"CH_IMAGE_STORAGE": str(path / "storage")}
        for name, text in SCRIPTS.items():
            (path / "sandbox" / name).parent.mkdir(parents=True, exist_ok=True)
            (path / "sandbox" / name).write_text(text)
        self.convert("./sandbox", "x.sif")
        make_layout(path).rename(path / "oci")
        self.convert("-i", "oci-dir", "./oci", "img")

    def convert(self, *words: str) -> None:
        run_program([*command("ch-convert"), "-q", *words], env=self.env, cwd=self.path)

    def run(self, *words: str, check: bool = True) -> Completed:
        argv = [*command("sundog"), "apptainer", *words]
        return run_program(argv, check=check, env=self.env, cwd=self.path)

    def attributes(self, *words: str) -> dict[str, Any]:
        """Return the data of an ``inspect``; nothing is on standard error."""
        done = self.run("inspect", *words)
        assert done.stderr == ""
        found = json.loads(done.stdout)
        assert found["type"] == "container"
        attributes: dict[str, Any] = found["data"]["attributes"]
        return attributes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("inspect"))


ENVIRONMENT = {
    "/.singularity.d/env/10-docker2singularity.sh": "export A=1",
    "/.singularity.d/env/90-environment.sh": "export B=2",
}
ONE = {
    "environment": {"/scif/apps/one/scif/env/90-environment.sh": "export C=3"},
    "helpfile": "Help of one.",
    "labels": {"k": "v"},
    "runscript": "echo one",
}
ALL = {
    "apps": {"one": ONE, "two": {"test": "true"}},
    "deffile": "bootstrap: docker\nfrom: x",
    "environment": ENVIRONMENT,
    "helpfile": "Help of it.",
    "labels": {"a": "1", "b": "2"},
    "runscript": "#!/bin/sh\necho run",
    "startscript": "#!/bin/sh\necho start",
    "test": "#!/bin/sh\necho test",
}


@pytest.mark.parametrize("image", ["sandbox", "x.sif"])
def test_json(place: Place, image: str) -> None:
    """A program that calls Apptainer reads .data.attributes."""
    assert place.attributes("--all", image) == ALL
    assert place.attributes("-e", "-d", "-l", "-r", "-H", "-t", "--json", image) == {
        kind: ALL[kind]
        for kind in ("environment", "deffile", "labels", "runscript", "helpfile", "test")
    }
    assert place.attributes("--json", image) == {"labels": ALL["labels"]}
    assert place.attributes("--json", "--list-apps", image) == {"apps": ALL["apps"]}
    assert place.attributes("--json", "--app", "one", "-r", image) == {
        "apps": {"one": {"runscript": "echo one"}}
    }
    assert place.attributes("--json", "--app", "none", "-r", image) == {}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "a: 1\nb: 2\n"),
        (("-r",), "#!/bin/sh\necho run\n"),
        (("--startscript", "-H"), "#!/bin/sh\necho start\nHelp of it.\n"),
        (("-d",), "bootstrap: docker\nfrom: x\n"),
        (("-t",), "#!/bin/sh\necho test\n"),
        (
            ("-e",),
            "".join(f"=== {path} ===\n{text}\n\n" for path, text in ENVIRONMENT.items()),
        ),
        (("--list-apps",), "one\ntwo\n"),
        (("--app", "one", "-r"), "echo one\n"),
        (("--app", "one"), "k: v\n"),
    ],
)
def test_text(place: Place, words: tuple[str, ...], text: str) -> None:
    done = place.run("inspect", *words, "x.sif")
    assert (done.stdout, done.stderr) == (text, "")


def test_an_image_in_storage_tells_what_its_sif_would(place: Place) -> None:
    place.run("build", "img.sif", "docker://img")
    stored, built = (place.attributes("--all", image) for image in ("docker://img", "./img.sif"))
    date = "org.label-schema.build-date"
    assert stored["labels"].pop(date)
    assert built["labels"].pop(date)
    assert stored == built
    assert stored["deffile"] == "bootstrap: docker\nfrom: img"
    assert "d e" in stored["runscript"]
    assert list(stored["environment"]) == [
        "/.singularity.d/env/10-docker2singularity.sh",
        "/.singularity.d/env/90-environment.sh",
    ]


def test_run_help(place: Place) -> None:
    assert place.run("run-help", "x.sif").stdout == HELP
    assert place.run("run-help", "--app", "one", "sandbox").stdout == "Help of one.\n"
    none = "No help sections were defined for this image\n"
    assert place.run("run-help", "docker://img").stdout == none


def test_hostile_texts(place: Place, tmp_path: Path) -> None:
    """What a terminal would obey is escaped; links lead nowhere; large and odd files are none."""
    tree = tmp_path / "tree"
    (tree / ".singularity.d/env").mkdir(parents=True)
    (tree / ".singularity.d/runscript").write_bytes(b"\x1b[2J\xff\n\techo\n")
    (tree / ".singularity.d/test").symlink_to("/etc/passwd")
    (tree / ".singularity.d/startscript").write_bytes(b"x" * (1 << 21))
    (tree / ".singularity.d/labels.json").write_text('{"a": 1, "b": ["c"], "d": "\\ud800"}')
    (tree / ".singularity.d/env/90-environment.sh").mkdir()
    (tree / "scif/apps").mkdir(parents=True)
    (tree / "scif/apps/x\n").symlink_to("/")
    done = place.run("inspect", "-r", str(tree))
    assert done.stdout == "\\x1b[2J\ufffd\n\techo\n"
    found = place.attributes("--all", str(tree))
    assert set(found) == {"labels", "runscript"}
    assert found["labels"] == {"d": "\ud800"}
    (tree / ".singularity.d/labels.json").write_text("[" * 100_000)
    assert place.attributes("--json", str(tree)) == {}


def test_sif_list_header_info_and_dump(place: Place) -> None:
    sif = (place.path / "x.sif").read_bytes()
    rows = [line.split("|") for line in place.run("sif", "list", "x.sif").stdout.splitlines()]
    definition, inspected, system = sif_descriptors(sif)
    cells = [[cell.strip() for cell in row] for row in rows if len(row) == 5]
    assert cells == [
        ["ID", "GROUP", "LINK", "SIF POSITION (start-end)", "TYPE"],
        ["1", "1", "NONE", f"32176-{32176 + definition[3]}", "Def.FILE"],
        ["2", "1", "NONE", f"{inspected[2]}-{sum(inspected[2:4])}", "JSON.Generic"],
        ["3", "1", "NONE", f"{system[2]}-{len(sif)}", cells[3][4]],
    ]
    assert re.fullmatch(r"FS \(Squashfs/\*System/\w+\)", cells[3][4])
    header = place.run("sif", "header", "x.sif").stdout
    assert "Launch Script:        #!/usr/bin/env run-singularity\n" in header
    assert "Descriptors Free:     45\n" in header
    assert "Filesystem Type:  Squashfs\n" in place.run("sif", "info", "3", "x.sif").stdout
    assert place.run("sif", "dump", "1", "x.sif").stdout == "bootstrap: docker\nfrom: x\n"
    argv = [*command("sundog"), "apptainer", "sif", "dump", "3", "x.sif"]
    argv = ["sh", "-c", '"$@" >dumped', "sh", *argv]
    run_program(argv, env=place.env, cwd=place.path)
    assert (place.path / "dumped").read_bytes() == sif[system[2] :]


def test_sif_del(place: Place) -> None:
    """The other objects stay where they are; the last one's bytes go."""
    path = place.path / "del.sif"
    shutil.copy(place.path / "x.sif", path)
    before = sif_descriptors(path.read_bytes())
    place.run("sif", "del", "2", "del.sif")
    after = path.read_bytes()
    assert sif_descriptors(after) == [before[0], before[2]]
    start, size = before[1][2:4]
    assert after[start : start + size] == bytes(size)
    assert "Descriptors Free:     46\n" in place.run("sif", "header", "del.sif").stdout
    place.run("sif", "del", "3", "del.sif")
    assert len(path.read_bytes()) == before[2][2]
    assert path.stat().st_mode & 0o7777 == 0o755
    done = place.run("sif", "del", "3", "del.sif", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        255,
        "FATAL:   no object 3 in del.sif",
    )


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("inspect",), 1, "inspect: not one image"),
        (("inspect", "nosuch"), 255, "Failed to open image nosuch: No such file or directory"),
        (("inspect", "docker://nosuch"), 255, "not in storage: nosuch"),
        (("inspect", "/dev/null"), 255, "Failed to open image /dev/null: neither a file"),
        (("inspect", "dumped.txt"), 255, "can't read dumped.txt: neither SquashFS nor SIF"),
        (("sif", "list"), 1, "sif list: not FILE"),
        (("sif", "lost", "x.sif"), 1, "unknown subcommand: lost"),
        (("sif", "add", "x.sif"), 255, "sundog apptainer has no sif add"),
        (("sif", "dump", "x", "x.sif"), 1, "not the number of an object: x"),
        (("sif", "dump", "9", "x.sif"), 255, "no object 9 in x.sif"),
        (("sif", "list", "sandbox"), 255, "can't read sandbox: "),
        (("verify", "x.sif"), 255, "sundog apptainer has no verify: signatures are not checked"),
    ],
)
def test_wrong_lines(place: Place, words: tuple[str, ...], status: int, text: str) -> None:
    (place.path / "dumped.txt").write_text("x" * 200)
    done = place.run(*words, check=False)
    assert done.returncode == status
    assert done.stderr.startswith(f"FATAL:   {text}")
    assert done.stdout == ""


def test_a_signature_is_mentioned(place: Place) -> None:
    """A copy has no signature of the original; a line says so."""
    squash = (place.path / "x.sif").read_bytes()
    *_, (_, _, start, size, _) = sif_descriptors(squash)
    (place.path / "signed.sif").write_bytes(make_sif(squash[start : start + size], signed=True))
    assert "Signature (SHA-256)" in place.run("sif", "list", "signed.sif").stdout
    done = place.run("build", "unsigned.sif", "signed.sif")
    assert "WARNING: the signatures of signed.sif are not checked, and are left out" in (
        done.stderr.splitlines()
    )
