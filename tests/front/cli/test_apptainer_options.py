"""Effects of options of ``sundog apptainer`` that no other test shows, and bad values."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.front.cli.test_apptainer_files import Place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    return Place(tmp_path_factory.mktemp("options"), busybox_tar)


def test_options_before(place: Place) -> None:
    """--debug tells more than --verbose does; --config names the settings of the site."""
    told = [place.run(word, "exec", "docker://bb", "true").stderr for word in ("-v", "--debug")]
    assert "DEBUG:" not in told[0]
    assert len(told[1].splitlines()) > len(told[0].splitlines())
    (place.path / "site.conf").write_text(f"bind path = {place.path}/run:/of/site\n")
    done = place.run("--config", "site.conf", "exec", "docker://bb", "ls", "-d", "/of/site")
    assert done.stdout == "/of/site\n"
    done = place.run("--config", "nosuch.conf", "exec", "docker://bb", "true", check=False)
    assert (done.returncode, "hint: " in done.stderr) == (255, True)


def test_options_of_files(place: Place) -> None:
    """--tmpdir is where temporary files are; --mount shows a directory to %post."""
    (place.path / "m.def").write_text("Bootstrap: docker\nFrom: bb\n%post\n cat /m/word > /w\n")
    (place.path / "shown").mkdir()
    (place.path / "shown/word").write_text("shown\n")
    mount = f"type=bind,src={place.path}/shown,dst=/m"
    place.run("build", "--sandbox", "--mount", mount, "mounted", "m.def")
    assert (place.path / "mounted/w").read_text() == "shown\n"
    for words in (["build", "x.sif", "docker://app"], ["pull", "x.sif", "docker://app"]):
        done = place.run(*words, "--tmpdir", "nosuch", check=False)
        assert (done.returncode, "--tmpdir nosuch: not a directory" in done.stderr) == (1, True)
        place.run(*words, "--tmpdir", "shown")
        (place.path / "x.sif").unlink()
    assert os.listdir(place.path / "shown") == ["word"]


def test_options_of_cache(place: Place) -> None:
    """--all and --verbose list the images; --summary does not; no variable stands for them."""
    for words, is_listed in ((["--all"], True), (["--verbose", "--summary"], False), ([], False)):
        text = place.run("cache", "list", *words, env={"APPTAINER_VERBOSE": "1"}).stdout
        assert ("app" in text) == is_listed


BAD_LINES = {
    "build --section pots x.sif x.def": "--section: no such section: pots",
    "build --build-arg A x.sif x.def": "--build-arg",
    "build --build-arg-file nosuch x.sif x.def": "can't read nosuch",
    "build --bind : x.sif x.def": "--bind :",
    "build --mount type=tmpfs x.sif x.def": "--mount type=tmpfs",
    "pull --arch a+b x.sif docker://app": "--arch",
    "pull --arch arm --arch-variant 99! x.sif docker://app": "--arch",
    "pull --dir nosuch docker://app": "nosuch",
    "instance stop --timeout soon x": "--timeout soon: not a number",
    "instance stop --timeout -1 x": "--timeout -1: not a number",
    "instance stop --signal NO x": "--signal NO: no such signal",
    "instance list --user nobody-else": "--user nobody-else",
    "cache list --type x": "--type x: no such type",
    "overlay create --create-dir ../../out o": "--create-dir",
    "exec --env-file nosuch docker://bb true": "--env-file nosuch",
    "exec --device x docker://bb true": "x",
    "exec --overlay nosuch docker://bb true": "nosuch",
    "sif info x app.sif": "not the number of an object: x",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_value(place: Place, line: str) -> None:
    """It is one error, with a hint, and nothing is made."""
    (place.path / "x.def").write_text("Bootstrap: docker\nFrom: bb\n")
    before = {*os.listdir(place.path)}
    done = place.run(*line.split(), check=False)
    lines = done.stderr.splitlines()
    assert done.returncode in (1, 255), done
    assert [text.startswith("FATAL:   ") for text in lines].count(True) == 1, done
    assert BAD_LINES[line] in next(text for text in lines if text.startswith("FATAL:"))
    assert lines[-1].startswith("INFO:    hint: "), done
    assert {*os.listdir(place.path)} == before
