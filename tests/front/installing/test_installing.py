"""``sundog install``: a directory for all users, which moves, is shared and goes as a whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog import __version__
from sundog.base.installation import COMMANDS
from sundog.errors import SundogError
from sundog.front.installing.drafts import remove_directory
from sundog.front.installing.parts import _needed
from sundog.front.installing.tree import may_be_private
from tests.conftest import Completed, command, run_program, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MACHINE = os.uname().machine
RECORD = "sundog-installation.json"
# It has a place of its own for its cache, and no PATH in which the tests' installation is.
ALONE = {"PATH": "/usr/bin:/bin"}
LMOD = "/usr/share/lmod/lmod/libexec/lmod"


def install(prefix: Path, *before: str, check: bool = True) -> Completed:
    argv = [*before, *command("sundog"), "install", "--prefix", str(prefix)]
    return run_program(argv, check=check)


def uninstall(prefix: Path, *, check: bool = True) -> Completed:
    argv = [*command("sundog"), "uninstall", "--prefix", str(prefix)]
    return run_program(argv, check=check)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation, made under a strict umask, which tests only read."""
    prefix = tmp_path_factory.mktemp("made") / "sundog" / "1.1"
    done = install(prefix, "sh", "-c", 'umask 777; exec "$@"', "sh")
    assert done.stdout == f"{prefix}/{MACHINE}\n"
    return prefix


def copy(made: Path, target: Path) -> Path:
    run_program(["cp", "-a", made, target])
    return target


def versions(prefix: Path, *before: str) -> list[str]:
    """Return what each command of an installation says of its version."""
    said = []
    for name in COMMANDS:
        done = run_program([*before, prefix / "bin" / name, "--version"], env=ALONE)
        said.append(f"{name}: {done.stdout}{done.stderr}")
    return said


def is_complete(said: Sequence[str]) -> bool:
    return len(said) == len(COMMANDS) and all(__version__ in line for line in said)


def test_all_users_can_read_all_of_it_and_nothing_is_compiled_later(made: Path) -> None:
    for path in [made, made.parent, *made.rglob("*")]:
        if not path.is_symlink():
            programs = path.is_dir() or path.parent.name == "bin"
            wanted = (0o755,) if programs else (0o644, 0o755)
            assert path.stat().st_mode & 0o777 in wanted, path
    sources = list(made.rglob("*.py"))
    assert len(sources) > 200
    for source in sources:
        assert list(source.parent.glob(f"__pycache__/{source.stem}.*.pyc")), source


def test_no_file_names_its_place(made: Path) -> None:
    """But byte code, in which Python corrects it when it reads it."""
    for path in made.rglob("*"):
        if path.is_symlink():
            target = path.readlink()
            assert not target.is_absolute() or path.name.startswith("python3."), path
        elif path.is_file() and path.suffix != ".pyc":
            assert os.fsencode(made) not in path.read_bytes(), path


def test_moved_and_read_only_each_command_works(
    made: Path, tmp_path: Path, busybox_tree: Path
) -> None:
    prefix = copy(made, tmp_path / "old").rename(tmp_path / "new")
    assert is_complete(versions(prefix))
    for name in ("ch-run", "sundog"):
        (tmp_path / name).symlink_to(prefix / "bin" / name)
    seen = run_program([tmp_path / "ch-run", busybox_tree, "--", "echo", "in"], env=ALONE)
    assert seen.stdout == "in\n"
    assert f"{prefix}/{MACHINE}/bin/ch-run" in run_program([tmp_path / "sundog", "info"]).stdout
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    read_only = ("unshare", "-Urm", "sh", "-c", script, "sh", str(prefix))
    assert run_program([*read_only, "touch", f"{prefix}/x"], check=False).returncode
    assert is_complete(versions(prefix, *read_only))


def test_an_installation_makes_another_one_and_removes_itself(made: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "1.2"
    run_program([made / "bin/sundog", "install", "--prefix", prefix], env=ALONE)
    names = [
        sorted(str(path.relative_to(top)) for path in top.rglob("*")) for top in (made, prefix)
    ]
    assert names[0] == names[1]
    assert f"{prefix}/" in run_program([prefix / "bin/sundog", "info"]).stdout  # side by side
    assert f"{made}/" in run_program([made / "bin/sundog", "info"]).stdout
    run_program([prefix / "bin/sundog", "uninstall", "--prefix", prefix], env=ALONE)
    assert not list(tmp_path.iterdir())


def test_trees_of_two_architectures(made: Path, tmp_path: Path, busybox_tree: Path) -> None:
    """The other one is this machine, as setarch(8) shows it."""
    prefix = copy(made, tmp_path / "both")
    other = ("setarch", "i686")
    assert install(prefix, *other).stdout == f"{prefix}/i686\n"
    assert is_complete(versions(prefix))
    assert is_complete(versions(prefix, *other))
    (tmp_path / "ch-run").symlink_to(prefix / "bin/ch-run")
    line = [str(tmp_path / "ch-run"), str(busybox_tree), "--", "env"]
    seen = run_program(line, env=ALONE | {"odd.name": "as it is"})
    assert "odd.name=as it is\n" in seen.stdout  # a shell would drop it
    for before, machine in (((), MACHINE), (other, "i686")):
        said = run_program([*before, prefix / "bin/sundog", "info"]).stdout
        assert f"{prefix}/{machine}/bin/ch-run" in said
    shutil.rmtree(prefix / "i686")
    done = run_program([*other, *line], check=False)
    assert done.returncode == 31
    assert "no Sundog for this architecture: " in done.stderr
    assert not uninstall(prefix).stderr
    assert not prefix.exists()


def directory(path: Path, record: str) -> None:
    path.mkdir()
    (path / RECORD).write_text(record)


def linked(path: Path) -> None:
    directory(path.with_name("elsewhere"), json.dumps({"sundog": __version__}))
    path.mkdir()
    (path / RECORD).symlink_to(path.with_name("elsewhere") / RECORD)


THEIRS: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("theirs"),
    "directory": lambda path: (path / "theirs").mkdir(parents=True),
    "broken": lambda path: directory(path, "[" * 100000),
    "other": lambda path: directory(path, '{"sundog": ["x"]}'),
    "linked": linked,
}


def test_what_is_not_its_own_stays(tmp_path: Path) -> None:
    for name, make in THEIRS.items():
        path = tmp_path / name
        make(path)
        before = sorted(tmp_path.rglob("*"))
        done = install(path, check=False)
        assert done.returncode == 1, name
        assert "sundog install` did not make it\nhint: name a new" in done.stderr, name
        done = uninstall(path, check=False)
        assert done.returncode == 1, name
        assert "is not a directory of `sundog install`" in done.stderr, name
        assert sorted(tmp_path.rglob("*")) == before, name


ADDED = (
    "images",
    "bin/site-tool",
    "modulefiles/sundog/default",
    "modulefiles/other/1.0",
    f"{MACHINE}/bin/site-tool",
    f"{MACHINE}/share/sundog/site.toml",
    f"{MACHINE}/lib/__pycache__/of-nothing.pyc",
    "i686/pyvenv.cfg",
)


def test_what_was_added_stays(made: Path, tmp_path: Path) -> None:
    prefix = copy(made, tmp_path / "1.1")
    for name in ADDED:
        path = prefix / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("theirs")
        done = uninstall(prefix, check=False)
        assert (done.returncode, f"did not make: {name}\n" in done.stderr) == (1, True), done.stderr
        path.unlink()
        if not any(path.parent.iterdir()):
            done = uninstall(prefix, check=False)
            assert f"did not make: {path.parent.relative_to(prefix)}\n" in done.stderr
            path.parent.rmdir()
    for number in range(12):
        (prefix / "bin" / f"more-{number:02}").symlink_to("/nonexistent")
    assert "more-08, bin/more-09 and 2 more\n" in uninstall(prefix, check=False).stderr
    assert is_complete(versions(prefix))


def test_byte_code_of_another_python_goes(made: Path, tmp_path: Path) -> None:
    prefix = copy(made, tmp_path / "1.1")
    (package,) = prefix.glob(f"{MACHINE}/lib/*/site-packages/sundog")
    (package / "__pycache__" / "start.cpython-399.pyc").touch()
    (prefix / "bin" / COMMANDS[0]).unlink()  # what has gone already is no hindrance
    uninstall(prefix)
    assert not list(tmp_path.iterdir())


def test_two_removals_at_once(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one leaves the draft of the first alone."""
    prefix = copy(made, tmp_path / "1.1")
    remove = shutil.rmtree
    drafts: list[str] = []

    def remove_later(draft: str) -> None:
        if not drafts:
            drafts.append(draft)
            install(prefix)
            uninstall(prefix)
            assert (Path(draft) / RECORD).exists()
        remove(draft)

    monkeypatch.setattr(shutil, "rmtree", remove_later)
    remove_directory(str(prefix))
    assert not list(tmp_path.iterdir())


def test_an_installation_is_not_changed(made: Path, tmp_path: Path) -> None:
    done = install(made, check=False)
    assert (done.returncode, f"for {MACHINE}\nhint: nothing to do" in done.stderr) == (1, True)
    prefix = tmp_path / "old"
    prefix.mkdir()
    (prefix / RECORD).write_text(json.dumps({"sundog": "0.9"}))
    done = install(prefix, check=False)
    assert done.returncode == 1
    assert f"has Sundog 0.9, and this is {__version__}\nhint: give each version" in done.stderr


@pytest.mark.parametrize("words", [(), ("--prefix", ""), ("--prefix", "x", "y"), ("--prefixx",)])
def test_mistakes(words: tuple[str, ...]) -> None:
    for name in ("install", "uninstall"):
        done = run_program([*command("sundog"), name, *words], check=False)
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr.startswith("error: ")
        assert "hint: " in done.stderr


def test_a_place_where_nobody_may_write() -> None:
    done = install(Path("/proc/sundog/1.1"), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "/proc/sundog" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_it_leaves_nothing_half(tmp_path: Path, number: signal.Signals) -> None:
    prefix = tmp_path / "1.1"
    argv = [*command("sundog"), "install", "--prefix", str(prefix)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: list(tmp_path.glob(f".*/{MACHINE}/pyvenv.cfg")) or process.poll() is not None)
        process.send_signal(number)
    if prefix.exists():  # it was faster
        assert is_complete(versions(prefix))
        return
    left = list(tmp_path.iterdir())
    assert len(left) == (number == signal.SIGKILL)
    if not left:
        return
    install(prefix)
    assert list(tmp_path.iterdir()) == [prefix]
    assert is_complete(versions(prefix))


@pytest.mark.parametrize("kind", ["lua", "tcl"])
def test_module_files(made: Path, tmp_path: Path, kind: str) -> None:
    """Lmod reads those of Environment Modules, too."""
    prefix = copy(made, tmp_path / "moved")
    name = f"modulefiles/sundog/{__version__}"
    (prefix / (f"{name}.lua" if kind == "tcl" else name)).unlink()
    script = f'eval "$({LMOD} bash load sundog/{__version__})"; sundog info; echo "$MANPATH"'
    env = ALONE | {"MODULEPATH": str(prefix / "modulefiles"), "MANPATH": "/usr/share/man"}
    done = run_program(["bash", "-c", script], env=env)
    assert f"{prefix}/{MACHINE}/bin/ch-run" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{prefix}/share/man:")
    assert (prefix / "share/man/man1/ch-run.1").exists()


def test_the_packages_that_it_needs(tmp_path: Path) -> None:
    """One that is missing is an error if its marker is true here, or cannot be otherwise."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    newer = f"{sys.version_info[0]}.{sys.version_info[1] + 1}"

    def names(*needs: str) -> set[str]:
        for name, wants in (("sundog", needs), ("here", ())):
            directory = tmp_path / f"{name}-1.dist-info"
            directory.mkdir(exist_ok=True)
            lines = [f"Name: {name}", "Version: 1", *(f"Requires-Dist: {want}" for want in wants)]
            (directory / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
        return {package.name for package in _needed([str(tmp_path)])}

    assert names("here>=1", 'here; extra == "x"') == {"sundog", "here"}
    for marker in (
        f'python_version < "{minor}"',
        f"python_version > '{minor}'",
        f"python_full_version>='{newer}'",
        "extra == 'fast'",
        "sys_platform == 'win32'",
    ):
        assert names(f"missing; {marker}") == {"sundog"}, marker
    for marker in ("", f"; python_version < '{newer}'", f'; python_version >= "{minor}"'):
        with pytest.raises(SundogError, match="the package missing is not installed"):
            names(f"missing>=2{marker}")


def test_programs_that_others_may_not_execute(tmp_path: Path) -> None:
    assert not may_be_private("/bin/sh")
    program = tmp_path / "private" / "python"
    program.parent.mkdir(mode=0o700)
    program.touch(0o755)
    assert may_be_private(str(program))
