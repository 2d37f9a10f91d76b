"""``ch-convert``: every format to every other, and what happens when something is wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from sundog.image.convert import formats
from tests.conftest import command, run_program
from tests.image.convert.formats import (
    CONFIG,
    config_in_tree,
    expected,
    in_archive,
    in_directory,
    in_squash,
    in_tar,
    links_in_tar,
    make_layout,
    make_sif,
    without_own,
)
from tests.image.layer.archives import archive, directory, file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Completed, RootHelper
    from tests.image.convert.formats import Found

ARCHIVES = ("oci-archive", "oci-dir", "docker-archive")
ENGINES = ("docker", "podman")
# Without enroot, which keeps less: test_enroot.py tests it.
OUTPUTS = ("ch-image", "dir", "tar", "squash", "sif", *ARCHIVES, *ENGINES)
INPUTS = OUTPUTS
# A stand-in for docker and podman: it keeps archives, and notes how it is called.
ENGINE = """\
#!/bin/sh
echo "${0##*/} $*" >>"$ENGINES/calls"
case $1 in
    image) test -e "$ENGINES/$3" || { echo "Error: No such image: $3" >&2; exit 1; };;
    save) cat "$ENGINES/$2";;
    load) cat >"$ENGINES/loaded";;
esac
"""


class Place:
    """A directory with storage, engines and images; ``run`` runs ch-convert there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage = path / "storage"
        (path / "engines").mkdir()
        (path / "bin").mkdir()
        (path / "tmp").mkdir()
        for name in ENGINES:
            program = path / "bin" / name
            program.write_text(ENGINE)
            program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CH_IMAGE_STORAGE": str(self.storage),
            "ENGINES": str(self.path / "engines"),
            "PATH": f"{self.path}/bin:{os.environ['PATH']}",
            "TMPDIR": str(self.path / "tmp"),
        }

    def run(self, *arguments: str, check: bool = True, **env: str) -> Completed:
        return run_program(
            [*command("ch-convert"), *arguments],
            check=check,
            env=self.environment | env,
            cwd=self.path,
        )

    def name(self, form: str, what: str) -> str:
        """Return the name of an image of a format, as -i or -o wants it."""
        if form in ("ch-image", *ENGINES):
            return what
        return f"./{what}.{'tar' if form == 'tar' else form}"

    def left(self) -> list[str]:
        """Return the temporary things that are there."""
        parts = [str(path) for path in self.path.glob("*.part*")]
        own = self.storage / "convert"
        return parts + os.listdir(self.path / "tmp") + (os.listdir(own) if own.exists() else [])


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place with one image in all formats, each with the name ``source``."""
    place = Place(tmp_path_factory.mktemp("sources"))
    make_layout(place.path).rename(place.path / "source.oci-dir")
    place.run("-q", "-i", "oci-dir", "./source.oci-dir", "source")
    for form in ("dir", "tar", "squash", "oci-archive", "docker-archive"):
        place.run("-q", "source", "-o", form, place.name(form, "source"))
    shutil.copy(place.path / "source.docker-archive", place.path / "engines/source")
    squash = (place.path / "source.squash").read_bytes()
    (place.path / "source.sif").write_bytes(make_sif(squash))
    return place


def seen(place: Place, form: str, what: str) -> tuple[Found, dict[str, object]]:
    """Return what other programs see of an image, and its configuration."""
    path = place.path / place.name(form, what)
    if form == "ch-image":
        path = place.path / f"{what}.saved"
        words = ("save", "-o", str(path), "--format=docker-archive", what)
        run_program([*command("ch-image"), *words], env=place.environment)
        return in_archive(path)
    if form in ENGINES:
        return in_archive(place.path / "engines/loaded")
    if form in ARCHIVES:
        return in_archive(path)
    if form == "dir":
        found = in_directory(path)
    else:
        tar = path.read_bytes() if form == "tar" else in_squash(path)
        assert {"w/one", "w/two"} in [
            {name.removeprefix("./") for name in names} for names in links_in_tar(tar)
        ]
        found = in_tar(tar)
    return found, config_in_tree(found)


def _pairs() -> list[object]:
    return [
        pytest.param(
            source,
            target,
            id=f"{source}-{target}",
            # Both halves of each other pair are in these.
            marks=() if "tar" in (source, target) else pytest.mark.slow,
        )
        for source in INPUTS
        for target in OUTPUTS
        if source != target
    ]


@pytest.mark.matrix
@pytest.mark.parametrize(("source", "target"), _pairs())
def test_every_pair(sources: Place, source: str, target: str) -> None:
    name = f"{source}-{target}"
    sources.run(
        "-i", source, sources.name(source, "source"), f"-o={target}", sources.name(target, name)
    )
    found, config = seen(sources, target, name)
    assert without_own(found) == without_own(expected())
    for key, value in CONFIG.items():  # ch/metadata.json has a SHELL for each image
        assert key == "Volumes" or config[key] == value
    if target not in ("ch-image", *ENGINES, *ARCHIVES):
        assert found[b"vol/ume"][:4] == ("d", 0o755, 0, 0)
    assert sources.left() == []


def test_every_format_is_tried_and_described(sources: Place) -> None:
    assert {*INPUTS} == {*formats.INPUTS}
    assert {*OUTPUTS, formats.ENROOT} == {*formats.OUTPUTS}
    page = (CHECKOUT / "docs" / "reference" / "ch-convert.md").read_text()
    rows = page.partition("## Formats")[2].partition("\n### ")[0].splitlines()
    told = re.findall("`([a-z-]+)`", "".join(row.split("|")[1] for row in rows if "`" in row))
    listed = sources.run("--help").stdout.partition("formats:\n")[2]
    for form in {*formats.INPUTS, *formats.OUTPUTS}:
        assert form in told, form
        assert re.search(rf"^  ([a-z-]+, )?{form}\b", listed, re.MULTILINE), form


def test_engines_are_asked_by_their_own_commands(sources: Place) -> None:
    calls = sources.path / "engines/calls"
    calls.unlink(missing_ok=True)
    sources.run("-q", "docker-daemon:source", "./engine.tar")
    sources.run("-q", "./engine.tar", "-o", "podman", "example.com/a/b")
    assert calls.read_text().splitlines() == [
        "docker image inspect source",
        "docker save source",
        "podman load",
    ]
    with tarfile.open(sources.path / "engines/loaded") as tar:
        (entry,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert entry["RepoTags"] == ["example.com/a/b:latest"]
    done = sources.run("-i", "podman", "absent", "./x.tar", check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "error: source not found in Podman storage: absent",
    )
    done = sources.run("--no-clobber", "./engine.tar", "-o", "docker", "source", check=False)
    assert "exists in Docker storage, not deleting per --no-clobber: source" in done.stderr


def test_podman_takes_what_is_made(sources: Place, root_helper: RootHelper) -> None:
    answer = root_helper.ask(
        "take-with-podman",
        source=str(sources.path / "source.docker-archive"),
        paths=["bin/su", "d", "dev/null", "bin/cap"],
    )
    kinds = {name: value[:4] for name, value in answer["found"].items()}
    assert kinds == {
        "bin/su": [stat.S_IFREG | 0o4755, 3, 4, 0],
        "d": [stat.S_IFDIR | 0o2750, 7, 8, 0],
        "dev/null": [stat.S_IFCHR | 0o666, 0, 0, os.makedev(1, 3)],
        "bin/cap": [stat.S_IFREG | 0o644, 0, 0, 0],
    }


def test_other_programs_agree(sources: Place) -> None:
    listed = subprocess.run(
        ["unsquashfs", "-lln", sources.path / "source.squash"], capture_output=True, check=True
    ).stdout
    lines = {line.split()[-1]: line.split() for line in listed.decode("latin-1").splitlines()}
    assert lines["squashfs-root"][:2] == [b"drwxr-x--x".decode(), "0/0"]
    assert lines["squashfs-root/bin/su"][:3] == ["-rwsr-xr-x", "3/4", "2"]
    assert lines["squashfs-root/dev/null"][:4] == ["crw-rw-rw-", "0/0", "1,", "3"]
    names = subprocess.run(
        ["tar", "-tf", sources.path / "source.tar"], capture_output=True, check=True
    ).stdout.split(b"\n")
    assert b"bin/su" in names
    for form in ("oci-archive", "docker-archive"):
        done = run_program(
            ["skopeo", "inspect", "--config", f"{form}:{sources.path}/source.{form}"]
        )
        assert json.loads(done.stdout)["config"]["Cmd"] == CONFIG["Cmd"]


@pytest.mark.parametrize(
    "target",
    [
        *("./a.tar.gz", "./a.sqfs", "./a.sif"),
        *(
            pytest.param(f"./a{ending}", marks=pytest.mark.slow)
            for ending in (".tar", ".tar.zst", ".tar.xz", ".tar.bz2", ".oci.tar")
        ),
    ],
)
def test_same_bytes_twice(sources: Place, target: str) -> None:
    path = sources.path / target
    digests = []
    for source in ("source", "source", "./source.dir"):
        sources.run("-q", source, target, SOURCE_DATE_EPOCH="1500000000")
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    sources.run("-q", "./source.dir", target, SOURCE_DATE_EPOCH="1500000000")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digests[2]
    if target.endswith(("sqfs", "sif")):
        members = in_tar(in_squash(path))
        assert {value[6] for value in members.values()} == {1_500_000_000}
    elif not target.endswith((".zst", ".oci.tar")):
        with tarfile.open(path) as tar:
            assert {member.mtime for member in tar} == {1_500_000_000}


def test_streams(sources: Place) -> None:
    convert = [*command("ch-convert"), "-q"]
    env = os.environ | sources.environment
    out = subprocess.run(
        [*convert, "source", "-"], cwd=sources.path, env=env, check=True, stdout=subprocess.PIPE
    ).stdout
    assert without_own(in_tar(out)) == without_own(expected())
    subprocess.run([*convert, "-", "./in.sqfs"], cwd=sources.path, env=env, check=True, input=out)
    assert without_own(in_tar(in_squash(sources.path / "in.sqfs"))) == without_own(expected())
    full = subprocess.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", *convert, "source", "-"],
        cwd=sources.path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 1
    assert full.stderr.startswith("error: /dev/stdout: no space left on ")
    assert sources.left() == []


def test_a_tar_that_has_to_be_unpacked(tmp_path: Path) -> None:
    place = Place(tmp_path)
    members = (
        directory("wrap"),
        directory("wrap/sub"),
        file("wrap/a", b"old"),
        file("wrap/a", b"new", uid=5),
        file("wrap/not/made", b"1"),
    )
    (tmp_path / "in.tar").write_bytes(archive(*members).getvalue())
    place.run("-q", "./in.tar", "out.sqfs")
    found = in_tar(in_squash(tmp_path / "out.sqfs"))
    assert found[b"a"][2:6] == (5, 0, (0, 0), b"new")
    assert set(found) >= {b"a", b"sub", b"not/made"}


def test_xattrs_can_be_dropped(sources: Place) -> None:
    for source, target in (
        ("source", "./plain.tar"),
        ("./source.dir", "./plain.sqfs"),
        ("./source.tar", "./plain.sqfs"),
        ("./source.squash", "./plain.tar"),
    ):
        sources.run("-q", "--no-xattrs", source, target)
        path = sources.path / target
        tar = path.read_bytes() if "tar" in target else in_squash(path)
        assert not any(value[7] for value in in_tar(tar).values())
    sources.run("-q", "source", "./labels.sif")
    sources.run("-q", "--no-xattrs", "./labels.sif", "./plain.sif")
    kept, plain = (in_tar(in_squash(sources.path / f"{name}.sif")) for name in ("labels", "plain"))
    assert any(value[7] for value in kept.values())
    assert not any(value[7] for value in plain.values())
    assert {name: value[:7] for name, value in plain.items()} == {
        name: value[:7] for name, value in kept.items()
    }
    sources.run("-q", "--no-xattrs", "./source.tar", "plain")
    assert not any(value[7] for value in seen(sources, "ch-image", "plain")[0].values())


def test_options_may_stand_anywhere(sources: Place) -> None:
    done = sources.run("source", "-n", "./any", "--out-fmt=tar", "-v", check=False)
    assert "unknown extension: ./any" in done.stderr
    done = sources.run("-i=ch-image", "source", "-o=tar", "./any.tar", "--dry-run")
    assert done.stderr.splitlines() == [
        "input:   ch-image  source",
        "output:  tar       ./any.tar",
        "done",
    ]
    assert not (sources.path / "any.tar").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["source", "other"], "input and output formats must be different"),
        (["./no.tar", "x"], "not found: ./no.tar"),
        (["-i", "dir", "./no", "x"], "not a directory: ./no"),
        (["--image-store=", "absent", "./x.tar"], "--image-store: DIR is empty"),
        (["--image-store=/no", "absent", "./x.tar"], "can't use the shared store /no: No such"),
        (["--image-store=.", "./source.tar", "x"], "--image-store: tar ./source.tar is looked"),
        (["--image-store=.", "-i", "docker", "source", "x"], "--image-store: docker source is "),
        (["-s", "", "source", "./x.tar"], "--storage: DIR is empty"),
        (["-s", "other", "./storage/img/source", "./x.tar"], "--storage other: ./storage/img/so"),
        (["absent", "./x.tar"], "source image not found in ch-image storage: absent"),
        (["-i", "nope", "a", "b"], "invalid format: nope"),
        (["-o", "nope", "a", "b"], "invalid format: nope"),
        (["--xattrs", "--no-xattrs", "a", "b"], '"--xattrs" incompatible with "--no-xattrs"'),
        (["--tmp", "x", "a", "b"], "temp dir must be absolute: x"),
        (["source", "./bin"], "exists but does not appear to be an image and is not empty: ./bin"),
        (["source", "-o", "dir", "./source.tar"], "exists but not a directory: ./source.tar"),
        (["source", "--no-clobber", "./source.tar"], "exists, not deleting per --no-clobber: "),
        (["source", "--no-clobber", "./source.dir"], "exists, not deleting per --no-clobber: "),
        (
            ["./source.tar", "--no-clobber", "source"],
            "exists in ch-image storage, not deleting per --no-clobber: source",
        ),
        (["source", "./no/such.tar"], "not a directory: "),
        (["-a", "s390x", "./source.tar", "./x.sqfs"], "--arch: format squash has no architecture"),
        (["-a", "s390x", "./source.sif", "./x.tar"], "--arch: format tar has no architecture"),
        (["-a", "s390x", "-i", "sif", "./labels", "./x.sif"], "--arch: the labels of ./labels say"),
        (
            ["-a", "s390x", "./source.oci-archive", "./x.tar"],
            "can't read ./source.oci-archive: requested arch unavailable: linux/s390x",
        ),
        (
            ["-a", "s390x", "-i", "podman", "source", "./x.tar"],
            "can't read podman save source: requested arch unavailable: linux/s390x",
        ),
        (["--no-xattrs", "./source.oci-dir", "x"], "--no-xattrs: from oci-dir to ch-image, layers"),
        (["--no-xattrs", "source", "-o", "docker", "x"], "--no-xattrs: from ch-image to docker, "),
        (["docker://debian", "./x.tar"], "an image in a registry: docker://debian"),
        (["./source.dir", "./source.dir/in.tar"], "the output is inside of the input"),
    ],
)
def test_messages(sources: Place, arguments: list[str], message: str) -> None:
    if "./labels" in arguments:
        sources.run("-q", "source", "-o", "sif", "./labels")
    done = sources.run(*arguments, check=False)
    assert done.returncode == 1
    assert any(line.startswith(f"error: {message}") for line in done.stderr.splitlines())
    assert "Traceback" not in done.stderr
    assert sources.left() == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["source", "./bin"], "it is not replaced, because its files may be needed: "),
        (["source", "other"], "the name decides; -i FMT and -o FMT decide otherwise, such as "),
        (["source", "-o", "dir", "./source.tar"], "remove it, or name another output; "),
        (["source", "-o", "tar", "./source.dir"], "remove it, or name another output; "),
        (["source", "--no-clobber", "./source.tar"], "name another output, or leave out "),
        (["source", "/proc/x.tar"], "write to a directory of your own"),
        (["-i", "tar", "./cut", "x"], "compare the input with its original, "),
        (["-i", "tar", "./cut.gz", "x"], "compare the input with its original, "),
        (["-i", "squash", "./cut.sqfs", "x"], "it was not copied as a whole; "),
    ],
)
def test_hints(sources: Place, arguments: list[str], hint: str) -> None:
    data = (sources.path / "source.tar").read_bytes()[:2000]
    (sources.path / "cut").write_bytes(data)
    (sources.path / "cut.gz").write_bytes(gzip.compress(data)[:-20])
    (sources.path / "cut.sqfs").write_bytes((sources.path / "source.squash").read_bytes()[:200])
    done = sources.run(*arguments, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"hint: {hint}"), done.stderr


def test_the_error_names_the_tar(sources: Place) -> None:
    (sources.path / "cut").write_bytes(b"no tar")
    done = sources.run("-q", "-i", "tar", "./cut", "x.sqfs", check=False)
    message = "error: can't read ./cut: this is not a tar archive: too short for one"
    assert done.stderr.splitlines()[0] == message


def test_a_directory_that_is_not_written_as_a_path(sources: Place) -> None:
    done = sources.run("source.dir", "./x.tar", check=False)
    assert done.stderr.splitlines()[-2:] == [
        "error: source image not found in ch-image storage: source.dir",
        "hint: ./source.dir is here: write ./source.dir to convert it",
    ]


def test_what_stands_behind_two_dashes_is_no_option(sources: Place) -> None:
    shutil.copy(sources.path / "source.tar", sources.path / "--help")
    shutil.copy(sources.path / "source.tar", sources.path / "-i=x")
    for words in (["--", "--help", "new"], ["--help.x", "--", "new"], ["--", "-i=x", "new"]):
        done = sources.run("-n", "-i", "tar", *words, check=False)
        if words[0] == "--":
            assert done.stderr.splitlines()[0] == f"input:   tar       {words[1]}"
            assert done.returncode == 0
        else:
            assert done.returncode == 1
    done = sources.run("-n", "./source.tar", "--", "new", "more", check=False)
    assert done.stderr.splitlines()[0] == "error: unrecognized arguments: more"
    for name in ("--help", "-i=x"):
        (sources.path / name).unlink()


def test_help_and_version(sources: Place) -> None:
    assert sources.run("-h").stdout == sources.run("--help").stdout != ""
    done = sources.run("--version")
    assert (done.stdout, done.stderr) == ("", sources.run("--version").stderr)
    done = sources.run("one", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("usage: ch-convert [OPTION...] IN OUT")


def test_content_decides_where_the_name_does_not(sources: Place) -> None:
    kinds = {
        "squash": ("a.b", "squash"),
        "sif": ("c", "sif"),
        "oci-archive": ("d.tar", "oci-archive"),
        "docker-archive": ("e.tar", "docker-archive"),
        "tar": ("f", "tar"),
    }
    for form, (name, said) in kinds.items():
        shutil.copy(sources.path / f"source.{form}", sources.path / name)
        done = sources.run("-n", f"./{name}", "new")
        assert done.stderr.split()[1] == said
    assert sources.run("-n", "./source.oci-dir", "new").stderr.split()[1] == "oci-dir"


def test_mksquashfs_is_missing_or_old(sources: Place, tmp_path: Path) -> None:
    for name, version in (("none", ""), ("old", "mksquashfs version 4.4 (2019/08/29)")):
        programs = tmp_path / name
        programs.mkdir()
        if version:
            (programs / "mksquashfs").write_text(f"#!/bin/sh\necho '{version}'\n")
            (programs / "mksquashfs").chmod(0o755)
        (programs / "sh").symlink_to("/bin/sh")
        done = sources.run("source", "./x.sqfs", check=False, PATH=str(programs))
        why = "mksquashfs 4.4 is too old" if version else "mksquashfs not found"
        assert done.stderr.splitlines()[-2:] == [
            f"error: can't make SquashFS: {why}",
            "hint: install squashfs-tools 4.6 or newer, or squashfs-tools-ng (tar2sqfs)",
        ]


def test_tar2sqfs_serves_too(sources: Place, tmp_path: Path) -> None:
    (tmp_path / "tar2sqfs").symlink_to(shutil.which("tar2sqfs") or "")
    sources.run("source", "./ng.sqfs", PATH=str(tmp_path))
    assert without_own(in_tar(in_squash(sources.path / "ng.sqfs"))) == without_own(expected())


@pytest.mark.slow
@pytest.mark.parametrize("target", ["./out.tar", "./out.sqfs", "./out", "./out.oci.tar", "out"])
def test_damaged_input_leaves_the_output_whole(sources: Place, target: str) -> None:
    sources.run("-q", "source" if target == "./out" else "./source.dir", target)
    before = snapshot(sources, target)
    for form in ("tar", "squash", "oci-archive"):
        name = f"./damaged.{form}"
        data = (sources.path / f"source.{form}").read_bytes()
        (sources.path / name).write_bytes(data[: len(data) // 3])
        done = sources.run("-i", form, name, target, check=False)
        if "must be different" in done.stderr:
            continue
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert snapshot(sources, target) == before
        assert sources.left() == []


def test_an_engine_takes_no_name_for_an_option(sources: Place) -> None:
    calls = sources.path / "engines/calls"
    calls.unlink(missing_ok=True)
    for words in (
        ["docker-daemon:-o/etc/passwd", "./x.tar"],
        ["-i=podman", "--", "--help", "./x.tar"],
        ["-i=podman", "", "./x.tar"],
    ):
        done = sources.run(*words, check=False)
        assert done.returncode == 1
        error, hint = done.stderr.splitlines()[-2:]
        assert error.startswith("error: no name of an image: ")
        assert hint.startswith("hint: ")
    assert not calls.exists()


def test_a_link_at_the_name_of_a_draft_is_not_followed(sources: Place) -> None:
    """In a directory like /tmp, another user may have made it."""
    victim = sources.path / "victim"
    victim.write_text("precious")
    for target in ("./l.sqfs", "./l.tar", "./l.oci.tar", "./l"):
        # exec(2) keeps the process ID, which is in the name.
        script = 'ln -s "$PWD/victim" "$1.$$.part"; exec "$0" -q source "$1"'
        done = subprocess.run(
            ["sh", "-c", script, *command("ch-convert"), target],
            cwd=sources.path,
            env=os.environ | sources.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert victim.read_text() == "precious"
        assert not (sources.path / target).exists()
        for path in sources.path.glob("*.part"):
            path.unlink()


def test_a_new_squashfs_has_the_usual_mode(sources: Place) -> None:
    before = os.umask(0o027)
    try:
        sources.run("-q", "source", "./mode.sqfs")
    finally:
        os.umask(before)
    assert stat.S_IMODE((sources.path / "mode.sqfs").stat().st_mode) == 0o640


def test_only_what_it_has_made_itself_is_removed_from_tmp(sources: Place) -> None:
    """A killed conversion leaves a directory, and the next one removes it; but nothing else."""
    tmp = sources.storage / "convert"
    tmp.mkdir(mode=0o700, exist_ok=True)
    for name in ("ch-convert.k1lled__", "ch-convert.results", "ch-convert.mine_too", "other"):
        (tmp / name).mkdir(mode=0o700)
    (tmp / "ch-convert.k1lled__/storage/tmp").mkdir(parents=True)
    (tmp / "ch-convert.results/paper").touch()
    (tmp / "ch-convert.mine_too").chmod(0o755)
    sources.run("-q", "./source.oci-dir", "./t.sqfs")
    assert sorted(os.listdir(tmp)) == ["ch-convert.mine_too", "ch-convert.results", "other"]
    assert (tmp / "ch-convert.results/paper").exists()
    shutil.rmtree(tmp)


@pytest.mark.parametrize(
    "source", ["source", "./source.tar", "./source.squash", "./source.oci-dir"]
)
def test_hard_links_survive_in_a_directory(sources: Place, source: str) -> None:
    sources.run("-q", source, "-o", "dir", "./links")
    one, two = (os.stat(sources.path / "links/w" / name) for name in ("one", "two"))
    assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)


@pytest.mark.parametrize("source", ["dir", "tar"])
@pytest.mark.parametrize("maker", ["mksquashfs", "tar2sqfs"])
def test_times_that_squashfs_cannot_keep(tmp_path: Path, source: str, maker: str) -> None:
    """The nearest time takes their place, and one line says so."""
    place = Place(tmp_path)
    times = {"old": -1, "older": -(2**33), "zero": 0, "last": 2**32 - 1, "new": 2**32, "far": 2**34}
    tree = place.path / "tree"
    (tree / "etc").mkdir(parents=True)
    for name, seconds in times.items():
        (tree / "etc" / name).touch()
        os.utime(tree / "etc" / name, (seconds, seconds))
    kept = {name: os.stat(tree / "etc" / name).st_mtime for name in times}
    assert kept["old"] == -1  # the file system of the test keeps what is before 1970
    if source == "tar":
        with tarfile.open(place.path / "tree.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(tree, ".")
    programs = place.path / "programs"
    programs.mkdir()
    (programs / maker).symlink_to(str(shutil.which(maker)))
    given = "./tree.tar" if source == "tar" else "./tree"
    done = place.run(given, "./out.sqfs", PATH=str(programs))
    moved = sum(not 0 <= seconds < 2**32 for seconds in kept.values())
    told = f"times before 1970 or after 2106 moved to the nearest: {moved}"
    assert done.stderr.count("warning: ") == done.stderr.count(told) == 1, done.stderr
    place.run("./out.sqfs", "./back")
    for name, time in kept.items():
        found = (place.path / "back/etc" / name).stat().st_mtime
        assert found == min(max(time, 0), 2**32 - 1), name


def test_it_tells_that_it_lives(tmp_path: Path) -> None:
    """Off a terminal, a timer of a minute has it print a line; here, the test is the timer."""
    place = Place(tmp_path)
    with subprocess.Popen(
        [*command("ch-convert"), "-i", "tar", "-", "./out"],
        env=os.environ | place.environment,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        while process.stderr.readline() != b"unpacking ...\n":
            assert process.poll() is None
        process.send_signal(signal.SIGALRM)
        assert process.stderr.readline() == b"unpacking ... still at work after 0 min\n"
        process.stdin.write(archive(directory("etc"), file("etc/x")).getvalue())
        process.stdin.close()
        assert process.stderr.readline() == b"done\n"
    assert process.returncode == 0


def snapshot(place: Place, target: str) -> object:
    path = place.path / target if target.startswith("./") else place.storage / "images" / target
    if path.is_dir():
        return {str(p): p.lstat().st_mtime_ns for p in path.glob("*")}, path.stat().st_ino
    return path.read_bytes() if path.exists() else None


def test_existing_directory_is_replaced_as_a_whole(sources: Place) -> None:
    sources.run("-q", "source", "./again")
    assert "deleting existing image: ./again" in sources.run("source", "./again").stderr
    (sources.path / "empty").mkdir()
    assert "using empty directory: ./empty" in sources.run("source", "./empty").stderr
    assert without_own(in_directory(sources.path / "empty")) == without_own(expected())
    assert sources.left() == []


def test_ch_run_and_import_know_the_owners_in_a_directory(
    sources: Place, busybox_tar: Path, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    more = archive(file("owned", uid=7, gid=8, mode=0o4755)).getvalue()
    (tmp_path / "bb.tar").write_bytes(busybox_tar.read_bytes())
    with (
        tarfile.open(tmp_path / "bb.tar", "a") as tar,
        tarfile.open(fileobj=io.BytesIO(more)) as new,
    ):
        for member in new:
            tar.addfile(member, new.extractfile(member))
    place.run("-q", "./bb.tar", "./bb")
    done = run_program(
        [*command("ch-run"), "--notify", tmp_path / "bb", "--", "ls", "-ln", "/owned"]
    )
    assert done.stdout.split()[:4] == ["-rwsr-xr-x", "1", "7", "8"]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["o.tar", "o.sqfs", "o.d", "o.oci.tar", "o.layout"])
def test_full_disk(sources: Place, target: str, small_tmpfs: Callable[[int, str], Path]) -> None:
    form = {"o.d": "dir", "o.layout": "oci-dir"}.get(target)
    options = ["-o", form] if form else []
    failed = 0
    for kibibytes in (32, 64, 128, 256, 512, 2048):
        mount = small_tmpfs(kibibytes, "")
        done = sources.run("source", *options, f"{mount}/{target}", check=False)
        if not done.returncode:
            break
        failed += 1
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(("error: ", "hint: "))
        assert os.listdir(mount) == []
    assert 0 < failed < 6
