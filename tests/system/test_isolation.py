"""The commands are isolated from the caller's Python: its variables, and his packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.installation import COMMANDS
from tests.runtime.launcher.installation import STUB, VERSION
from tests.system.test_installers import UV, run, uv, wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["uv", "wheel"]  # fixtures

BIN = Path(sys.executable).parent
# What a start could import: our modules, those that we need, and some of the standard library's.
NAMES = (
    *("sundog", "urllib3", "rich", "yaml", "backports", "isal", "site", "os", "json", "argparse"),
    *("sitecustomize", "usercustomize", "encodings", "subprocess", "random", "ctypes", "readline"),
)
WORDS = {"sundog-pyxis-importer": "release", "ch-run-oci": "features", "sundog": "ps"}

pytestmark = pytest.mark.skipif(
    not (BIN / "ch-image").exists(), reason="the commands of a checkout are no installation"
)


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment that leads every start of a plain Python astray."""
    home = tmp_path_factory.mktemp("home")
    user = home / ".local" / "lib" / VERSION / "site-packages"
    user.mkdir(parents=True)
    poison = "raise RuntimeError('poison')\n"
    for name in NAMES:
        (user / f"{name}.py").write_text(poison)
    (user / "poison.pth").write_text("import sys; sys.stderr.write('poison')\n")
    (home / "startup.py").write_text(poison)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "USER": "ada",
        "CH_IMAGE_STORAGE": str(home / "storage"),
        "SUNDOG_PYXIS_DIR": str(home / "pyxis"),
        "PYTHONHOME": "/nonexistent",
        "PYTHONPATH": str(user),
        "PYTHONSTARTUP": str(home / "startup.py"),
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONUSERBASE": str(home / ".local"),
    }


def clean(command: Path, *words: str, env: Mapping[str, str], status: int = 0) -> str:
    done = subprocess.run(
        [command, *words],
        env=env,
        cwd=env["PYTHONPATH"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "poison" not in done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["program", "stub"])
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_the_caller_is_imported(name: str, kind: str, poisoned: dict[str, str]) -> None:
    command = BIN / name
    if kind == "stub":
        command = BIN.parent / STUB.with_name(name)
        if not command.exists():
            pytest.skip("without a compiler, the stub is the command")
        command = BIN / ".." / STUB.with_name(name)
    clean(command, "--version", env=poisoned)
    if name in WORDS:
        clean(command, WORDS[name], env=poisoned)


def test_nor_by_what_a_command_starts(poisoned: dict[str, str], busybox_tar: Path) -> None:
    """A pull needs urllib3; the importer of pyxis starts two commands; the doctor starts many."""
    said = clean(BIN / "ch-image", "pull", "localhost:1/no", env=poisoned, status=1)
    assert "error: can't reach localhost:1" in said
    clean(BIN / "ch-image", "import", str(busybox_tar), "bb", env=poisoned)
    assert ".sqfs\n" in clean(BIN / "sundog-pyxis-importer", "get", "bb", env=poisoned)
    clean(BIN / "sundog-pyxis-importer", "release", env=poisoned)
    oci = Path(poisoned["HOME"], "layout")
    clean(BIN / "ch-convert", "-o", "oci-dir", "bb", str(oci), env=poisoned)
    clean(BIN / "ch-image", "delete", "bb", env=poisoned)
    assert clean(BIN / "ch-run", f"oci:{oci}", "--", "echo", "inside", env=poisoned) == "inside\n"


def test_the_caller_s_variables_reach_what_a_command_executes(poisoned: dict[str, str]) -> None:
    """Isolation is for Sundog's own process alone; the stub's shell loses nothing."""
    odd = {"BASH_FUNC_f%%": "() { :; }", "a.b": "c", "PWD": "/odd", "_": "x", "SHLVL": "7"}
    for command in (BIN / "sundog-fakeroot", BIN / ".." / STUB.with_name("sundog-fakeroot")):
        seen = clean(command, "/usr/bin/env", "-0", env=poisoned | odd)
        found = dict(string.split("=", 1) for string in seen.split("\0")[:-1])
        del found["FAKEROOTKEY"]
        assert found == poisoned | odd


@pytest.mark.parametrize("option", ["--prefix", "--target"])
def test_an_installation_that_only_pythonpath_would_find(
    uv: str, wheel: str, option: str, poisoned: dict[str, str], tmp_path: Path
) -> None:
    """Its place finds it; dependencies may be there, or be the interpreter's."""
    place = tmp_path / "a place"
    run([uv, *UV, "--python", sys.executable, option, place, wheel])
    for name in COMMANDS:
        clean(place / "bin" / name, "--version", env=poisoned)
    said = clean(place / "bin" / "ch-image", "pull", "localhost:1/no", env=poisoned, status=1)
    assert "error: can't reach localhost:1" in said
    (tmp_path / "link").symlink_to(place / "bin" / "ch-image")
    where = clean(tmp_path / "link", "gestalt", "python-path", env=poisoned).strip()
    assert os.path.samefile(where, sys.executable)
    # Another interpreter beside the commands is not theirs.
    (place / "bin" / "python3").write_text("#!/bin/false\n")
    (place / "bin" / "python3").chmod(0o755)
    clean(place / "bin" / "ch-image", "--version", env=poisoned)


def test_a_dependency_that_only_pythonpath_has(
    uv: str, wheel: str, poisoned: dict[str, str], tmp_path: Path
) -> None:
    venv, needed = tmp_path / "venv", tmp_path / "urllib3.py"
    run([uv, "venv", "--quiet", "--offline", "--no-cache", "--python", sys.executable, venv])
    run([uv, *UV, "--python", venv / "bin" / "python", wheel])
    needed.touch()
    env = poisoned | {"PYTHONPATH": str(tmp_path)}
    said = clean(venv / "bin" / "ch-image", "pull", "localhost:1/no", env=env, status=1)
    assert said.splitlines()[-2:] == [
        "error: this installation lacks the Python package urllib3",
        "hint: install Sundog again with all that it needs; no command reads $PYTHONPATH",
    ]


def test_an_interpreter_that_has_no_sundog(
    uv: str, wheel: str, poisoned: dict[str, str], tmp_path: Path
) -> None:
    run([uv, *UV, "--python", sys.executable, "--target", tmp_path / "there", wheel])
    (tmp_path / "there" / "sundog").rename(tmp_path / "gone")
    python = Path(os.path.realpath("/usr/bin/python3"))
    command = tmp_path / "there" / "bin" / "ch-image"
    (command.parent / "sundog-python").write_text(f"#!{python}\n")
    said = clean(command, "list", env=poisoned, status=1)
    assert said.splitlines()[-2:] == [
        f"{command}: error: Sundog is not below {tmp_path / 'there'}, for {python}",
        "hint: install it again, with the interpreter that is to run it",
    ]
