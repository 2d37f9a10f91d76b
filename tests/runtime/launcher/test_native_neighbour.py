"""The compiled ``ch-run`` serves nothing that another user of the machine could have made."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RootHelper
from tests.runtime.launcher.compiled import Compiled, leave_accounts
from tests.runtime.launcher.conftest import ENVIRONMENT
from tests.runtime.launcher.storages import fill_storage, make_storage

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]  # no Python is in it

Attack = Callable[[str], None]
Start = Callable[..., tuple[int, bytes, bytes]]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that belongs to the victim and that all users can enter."""
    with tempfile.TemporaryDirectory(prefix="victim.", dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def own(place: Path) -> Path:
    storage = fill_storage(make_storage(place / "own"))
    leave_accounts(storage, os.geteuid(), os.getegid())
    return storage


@pytest.fixture
def attack(root_helper: RootHelper) -> Attack:
    """Run a line of shell code as the attacker."""

    def run(line: str) -> None:
        done = root_helper.as_second_user(["/bin/sh", "-euc", f"umask 022; {line}"])
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def usual(attack: Attack) -> Iterator[Path]:
    """The default path of the victim's storage; the path does not exist."""
    path = Path(f"/var/tmp/victim-{secrets.token_hex(8)}.sundog")
    yield path
    if path.is_symlink() and path.lstat().st_uid == os.getuid():
        path.unlink()
    attack(f"rm -rf {path} 2>/dev/null || :")
    shutil.rmtree(path, ignore_errors=True)


def start(command: Path, *words: str | Path, **env: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [command, *words, "app", "--", "cat", "/below"],
        env=ENVIRONMENT | env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, message_of(done.stderr)


def start_as_victim(root_helper: RootHelper) -> Start:
    """Return ``start`` for the victim, whose account has the name $USER."""

    def run(command: Path, *words: str | Path, **env: str) -> tuple[int, bytes, bytes]:
        argv = [*map(str, (command, *words)), "app", "--", "cat", "/below"]
        done = root_helper.as_victim(env["USER"], argv, ENVIRONMENT | env, Path("/"))
        return done.returncode, done.stdout, message_of(done.stderr)

    return run


def message_of(errors: bytes) -> bytes:
    """Return the first message without its prefix."""
    return errors.partition(b"]: ")[2].partition(b"\n")[0]


def refused(compiled: Compiled, *words: str | Path, start: Start = start, **env: str) -> None:
    """Assert that Python refuses, and that the C declines and hands over with Python's result."""
    python = start(compiled.stub, *words, **env)
    assert python[0] == 31, python
    status, output, message = start(compiled.command, *words, **env, SUNDOG_START="compiled")
    assert (status, output) == (31, b"")
    assert message.startswith(b"error: declined: ")
    assert start(compiled.command, *words, **env) == python


@pytest.mark.parametrize("slash", ["", "/", "//"])
@pytest.mark.parametrize("target", ["own", "theirs"])
def test_anothers_link_is_not_followed(
    compiled: Compiled,
    own: Path,
    usual: Path,
    root_helper: RootHelper,
    *,
    attack: Attack,
    target: str,
    slash: str,
) -> None:
    """The link may lead to the victim's own storage, and a slash may hide that it is a link."""
    theirs = usual.with_suffix(".theirs")
    attack(f"cp -r /var/empty {theirs} 2>/dev/null || mkdir -m 700 {theirs}")
    attack(f"ln -s {own if target == 'own' else theirs} {usual}")
    user = usual.name.removesuffix(".sundog")
    try:
        victim = start_as_victim(root_helper)
        refused(compiled, start=victim, USER=user, CH_IMAGE_STORAGE=f"{usual}{slash}")
        if not slash:
            refused(compiled, start=victim, USER=user)
            refused(compiled, USER=user)  # the account has another name
        # With -s and another $USER the C declines, too.  Python then decides.
        status, _, message = start(
            compiled.command, "-s", f"{usual}{slash}", USER="ada", SUNDOG_START="compiled"
        )
        assert status == 31, message
    finally:
        attack(f"rm -rf {theirs}")


def test_links_of_the_victim_and_of_root_are_followed(
    compiled: Compiled, own: Path, usual: Path, root_helper: RootHelper
) -> None:
    user = usual.name.removesuffix(".sundog")
    usual.symlink_to(own)
    served = (0, b"top\n", b"")
    assert start(compiled.command, USER=user, SUNDOG_START="compiled") == served
    assert start(compiled.stub, USER=user) == served
    usual.unlink()
    root_helper.ask("link", path=str(usual), target=str(own))
    try:
        assert start(compiled.command, USER=user, SUNDOG_START="compiled") == served
        assert start(compiled.stub, USER=user) == served
    finally:
        root_helper.ask("unlink", path=str(usual))


def test_a_storage_of_another(
    compiled: Compiled, own: Path, usual: Path, root_helper: RootHelper, attack: Attack
) -> None:
    shutil.rmtree(own / "accounts")
    own.chmod(0o755)
    for path in own.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    attack(f"cp -r {own} {usual}")
    own.chmod(0o700)
    user = usual.name.removesuffix(".sundog")
    for mode in ("700", "755", "777"):
        attack(f"chmod {mode} {usual}")
        refused(compiled, start=start_as_victim(root_helper), USER=user)
    # The victim's own link to that storage does not help.
    link = own.parent / "link"
    link.symlink_to(usual)
    refused(compiled, "-s", link)


@pytest.mark.parametrize("mode", [0o750, 0o711, 0o701, 0o777])
def test_a_storage_that_others_can_enter(compiled: Compiled, own: Path, mode: int) -> None:
    """The C declines, because only Python checks the contents of such a storage."""
    own.chmod(mode)
    status, _, message = start(compiled.command, "-s", own, SUNDOG_START="compiled")
    assert (status, message) == (31, b"error: declined: a storage for others")
    own.chmod(0o700)
    assert start(compiled.command, "-s", own, SUNDOG_START="compiled") == (0, b"top\n", b"")


@pytest.mark.parametrize("accounts", ["mode", "size", "link", "old", "future", "fifo", "cut"])
def test_accounts_that_are_not_right(compiled: Compiled, own: Path, accounts: str) -> None:
    file = leave_accounts(own, os.geteuid(), os.getegid())
    if accounts == "mode":
        file.chmod(0o644)
    elif accounts == "size":
        file.write_bytes(b"x" * (1 << 18))
    elif accounts == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif accounts == "link":
        file.rename(own / "elsewhere")
        file.symlink_to(own / "elsewhere")
    elif accounts == "fifo":
        file.unlink()
        os.mkfifo(file, 0o600)
    else:
        past = file.stat().st_mtime + (86400 * 2 if accounts == "future" else -86400 * 2)
        os.utime(file, (past, past))
    status, _, message = start(compiled.command, "-s", own, SUNDOG_START="compiled")
    assert status == 31
    assert message.startswith(b"error: declined: ")


@pytest.mark.parametrize("count", [1, 5000])
@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755])
def test_set_id(
    compiled: Compiled, place: Path, root_helper: RootHelper, mode: int, count: int
) -> None:
    """A set-ID program executes nothing, not even the stub: the attacker may have written that."""
    program = place / "bin" / "ch-run"
    stub = place / "share" / "sundog" / "ch-run"
    for path in (program, stub):
        path.parent.mkdir(parents=True)
    stub.write_text("#!/bin/sh\nexec id\n")
    shutil.copy(compiled.command, program)
    program.chmod(mode)
    for directory in (place / "bin", place / "share", stub.parent):
        directory.chmod(0o755)
    stub.chmod(0o755)
    variables = {f"V{number}": "1" for number in range(count)}
    for start in ("", "python", "compiled"):
        done = root_helper.as_second_user(
            [str(program), "app", "--", "true"], variables | {"SUNDOG_START": start}
        )
        assert (done.returncode, done.stdout) == (31, b"")
        assert done.stderr.endswith(
            b"]: error: ch-run is installed set-user-ID or set-group-ID\n"
        ), done
