"""The same scripts under Debian's fakeroot and under ours print the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program
from tests.runtime.fakeroot.conftest import ORACLE

if TYPE_CHECKING:
    from tests.runtime.fakeroot.conftest import MockRoot

SCRIPTS = (Path(__file__).parent / "scripts.txt").read_text()
BOUNDARY = "== "
CASES = {
    name: text
    for name, _, text in (part.partition("\n") for part in SCRIPTS.split(f"\n{BOUNDARY}")[1:])
}
# What stat(2) says; without blanks, so that a script can use it unquoted.
SHOW = "stat -c %n,%u,%g,%f,%t,%T,%h"

# Debian's fakeroot says so now and then on a busy machine, and goes on.
NOISE = "libfakeroot internal error: payload not recognized!\n"


def results(words: tuple[str, ...], directory: Path) -> dict[str, str]:
    """Return what each script prints, by name of the case; each runs in a directory of its own."""
    script = f"SHOW='{SHOW}'\n" + "".join(
        f"printf '{BOUNDARY}%s\\n' '{name}'; mkdir 'd{number}'; cd 'd{number}' || exit\n"
        f"(\nset -eu\n{text}\n) 2>&1; echo status $?\ncd ..\n"
        for number, (name, text) in enumerate(CASES.items())
    )
    directory.mkdir()
    (directory / "script").write_text(script)
    done = run_program([*words, "--", "sh", "script"], cwd=directory)
    assert done.stderr == ""
    run_program(["chmod", "-R", "u+rwX", directory])
    output = done.stdout.replace(NOISE, "")
    parts = (part.partition("\n") for part in output.split(BOUNDARY)[1:])
    return {name: text for name, _, text in parts}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """Return the results of all cases under fakeroot, and under ours."""
    place = tmp_path_factory.mktemp("scripts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        patch.setenv("LC_ALL", "C.UTF-8")
        expected = results(ORACLE, place / "oracle")
        return expected, results(tuple(command("sundog-fakeroot")), place / "ours")


@pytest.mark.parametrize("name", CASES)
def test_a_script_prints_the_same(both: tuple[dict[str, str], dict[str, str]], name: str) -> None:
    expected, found = both
    assert expected[name].endswith("status 0\n")
    assert found[name] == expected[name]


TREE = """
mkdir -m 2750 d; touch d/f d/g; mknod d/c c 1 3; mknod d/b b 511 300; mkfifo d/p; ln -s f d/l
chown 1:2 d/f; chown -h 3:4 d/l; chown 5:6 d d/p; chmod 4755 d/f; chown 7 d/b; chmod 0 d/g
chown 8:9 d/g; touch d/h; chown 1 d/h; ln d/h d/i; touch d/gone; chown 1:1 d/gone; rm d/gone
"""
SHOW_TREE = f"find d | sort | xargs {SHOW}"


@pytest.mark.parametrize("first", ["oracle", "ours"])
@pytest.mark.parametrize("second", ["oracle", "ours"])
def test_each_reads_what_the_other_writes(
    oracle: MockRoot, ours: MockRoot, first: str, second: str
) -> None:
    programs = {"oracle": oracle, "ours": ours}
    writer, reader = programs[first], programs[second]
    shown = writer.sh(TREE + SHOW_TREE, "-s", "state")
    assert "d/b,7,0,61a4,1ff,12c,1" in shown
    # The reader changes something, and saves all that it has read.
    changed = reader.sh(f"chown 44 d/f; chmod 711 d/f; {SHOW_TREE}", "-i", "state", "-s", "again")
    expected = shown.replace("d/f,1,2,89ed", "d/f,44,2,81c9")
    assert expected != shown
    assert changed == expected
    assert oracle.sh(SHOW_TREE, "-i", "again") == expected
    assert ours.sh(SHOW_TREE, "-i", "again") == expected
    assert "gone" not in changed


@pytest.mark.parametrize("writer", ["oracle", "ours"])
def test_removed_files_leave_the_state(oracle: MockRoot, ours: MockRoot, writer: str) -> None:
    """No program looks at most of the files that rm(1) and mv(1) remove."""
    first = oracle if writer == "oracle" else ours
    first.sh("mkdir d; touch d/1 d/2 d/3 f g k; chown -R 5:6 d f g k", "-s", "state")
    ours.sh("rm -r d; touch new; mv -f new f; ln g h; rm g", "-i", "state", "-s", "state")
    state = (ours.directory / "state").read_text()
    inodes = {str((ours.directory / name).stat().st_ino) for name in ("h", "k")}
    plain = [line for line in state.splitlines() if line.startswith("dev=")]
    assert {line.split(",")[1].removeprefix("ino=") for line in plain} == inodes


def test_owners_of_files_without_a_record(oracle: MockRoot, ours: MockRoot) -> None:
    script = (
        f"touch f; {SHOW} f; chown 0:0 f; {SHOW} f; chown 1 f; {SHOW} f; "
        f"stat -c '%u %g' / /etc/passwd /proc/self/exe .. ; id; chmod 600 f; {SHOW} f"
    )
    expected = oracle.sh(script, "-u")
    assert f"f,{os.getuid()},{os.getgid()}," in expected
    ours.sh("rm f")
    assert ours.sh(script, "-u") == expected
