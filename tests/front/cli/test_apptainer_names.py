"""Awkward names in all options of ``sundog apptainer`` that take a path, a name or a list.

Each works, or is one clear error.  Nothing is silently another path: for each name, the paths that
a wrong split of it would give are there, too.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.front.cli.test_sundog_apptainer import Place

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a:b", "a,b", "a b", "a\nb", 'a"b', "a\\b", "a:ro", " a", "-a", "a'b", "a$HOME")
BACKSLASH = r"\\\1"
_COLON = "a colon in a path of the host: "
LIST = "cd /in; for each in *; do printf '%s\\n' \"$each\"; done"
_CONTAINED = ("exec", "--contain")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    return Place(tmp_path_factory.mktemp("names"), busybox_tar)


def quoted(text: str) -> str:
    """Return a text as one field of a line of comma-separated values."""
    return '"' + text.replace('"', '""') + '"'


def sources(place: Place, name: str) -> Path:
    """Make a directory of the name, and those that a wrong split would take; each has a file."""
    top = place.path / "sources"
    for each in (name, *re.split("[:,]", name), name.strip(), name.replace("\\", "")):
        if each:
            (top / each).mkdir(parents=True, exist_ok=True)
            (top / each / "who").write_text(each)
    return top / name


def told(place: Place, words: tuple[str, ...], script: str, cwd: Path | None = None) -> str:
    """Return what a script prints, or the words of the error, which has a hint."""
    done = place.run(*words, "docker://bb", "sh", "-c", script, check=False, cwd=cwd)
    if done.returncode == 0:
        return done.stdout
    first, *rest = done.stderr.splitlines()
    assert first.startswith("FATAL:   "), done
    assert any("hint: " in text for text in rest), done
    return first.removeprefix("FATAL:   ")


@pytest.mark.parametrize("name", NAMES)
def test_paths_of_the_host(place: Place, name: str) -> None:
    """--bind, --mount, --home, --workdir, --overlay, and the working directory."""
    source = sources(place, name)
    error = f"{_COLON}{source}".encode("unicode_escape").decode()
    bind = f"{re.sub('([:,])', BACKSLASH, str(source))}:/mnt"
    tries = {
        "bind": (*_CONTAINED, "--bind", quoted(bind)),
        "mount": (*_CONTAINED, "--mount", f"type=bind,{quoted(f'src={source}')},dst=/mnt"),
    }
    for option, words in tries.items():
        found = told(place, words, "cat /mnt/who")
        is_cut = option == "mount" and "\n" in name  # each line is a mount of its own
        expected = error if ":" in name else name
        assert found == expected or (is_cut and found.startswith("--mount ")), option
    found = told(place, (*_CONTAINED, "--home", f"{source}:/mnt"), "cat ~/who")
    assert found == name or (":" in name and found.startswith("--home "))
    found = told(place, (*_CONTAINED, "--workdir", str(source)), ": > /tmp/made")
    if ":" in name:
        assert found.startswith(_COLON)
    else:
        assert (source / "tmp/made").exists(), found
    found = told(place, ("exec",), "cat who", cwd=source)
    assert found == name or (":" in name and found == error)  # /var/tmp is shown in any case
    (source / "upper").mkdir()
    (source / "work").mkdir()
    (source / "upper/changed").write_text(name)
    found = told(place, (*_CONTAINED, "--overlay", quoted(str(source))), "cat /changed || :")
    if name.endswith(":ro"):  # that of "a"
        assert found != name
    else:
        assert found == name


@pytest.mark.parametrize("name", NAMES)
def test_paths_and_texts_of_the_container(place: Place, name: str) -> None:
    """--bind's DST, --scratch, --cwd, --env and --env-file, and names that are none."""
    (place.path / "plain").mkdir(exist_ok=True)
    target = re.sub("([:,])", BACKSLASH, f"/in/{name}")
    words: tuple[str, ...] = (
        *_CONTAINED,
        "--bind",
        quoted(f"{place.path}/plain:{target}"),
        "--cwd",
        f"/in/{name}",
    )
    words += ("--no-eval", "--env", f"A={name}")
    found = told(place, words, 'pwd; printf %s "$A"')
    assert found == f"/in/{name}\n{name}"
    found = told(place, (*_CONTAINED, "--scratch", quoted(f"/in/{name}")), LIST)
    assert found == f"{name}\n" or (":" in name and found.startswith("a colon in the path"))
    for option in ("--app", "--hostname", "--device", "--no-mount", "--network"):
        done = place.run("exec", option, name, "docker://bb", "true", check=False)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 1, 255)
        assert done.returncode or option in ("--hostname", "--no-mount", "--network"), done
        assert option.lstrip("-") in done.stderr or option in ("--hostname", "--device"), done


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_made(place: Place, name: str) -> None:
    """TARGET and SOURCE of build, IMAGE, pull --dir, overlay create, --pid-file, and instances."""
    top = place.path / "made" / name
    top.mkdir(parents=True)
    target = top / f"{name}.sif"
    place.run("build", target, "docker://bb")
    assert os.listdir(top) == [target.name]
    assert place.run("exec", target, "echo", "ran").stdout == "ran\n"
    assert place.run("-q", "sif", "list", target).stdout
    place.run("build", "--sandbox", top / "box", target)
    assert place.run("exec", top / "box", "echo", "ran").stdout == "ran\n"
    place.run("pull", "--dir", top, "--name", f"{name}.2", "--tmpdir", top, "docker://bb")
    place.run("overlay", "create", "--create-dir", quoted(f"/d/{name}"), top / f"{name}.o")
    assert os.listdir(top / f"{name}.o/upper/d") == [name]
    assert {*os.listdir(top)} == {target.name, "box", f"{name}.2", f"{name}.o"}
    assert os.listdir(place.path / "made") == [name]
    done = place.run("instance", "start", "docker://bb", "--", name, check=False)
    assert (done.returncode, done.stderr.count("FATAL:")) == (1, 1)
    os.rename(place.path / "made", place.path / f"done{NAMES.index(name)}")
