"""Another user of the machine: Sundog never uses his files as the user's own.

The tests' user is the victim, the second user is the attacker.  Both work in /var/tmp, where
everybody may make files.  The default storage directory has the name of the victim's account; so
that a test can attack one that nobody uses, the account has another name there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher import main
from tests.conftest import command, run_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Completed, RootHelper

pytestmark = pytest.mark.needs_root

NAME = "docker.io%library%app+latest"
SHOW = ["--", "cat", "/whose"]
OWN = "name your own storage: --storage or $CH_IMAGE_STORAGE; run a directory as ./DIR"


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory of the victim's that all users can enter."""
    with tempfile.TemporaryDirectory(prefix="victim.", dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def attack(root_helper: RootHelper) -> Callable[[str], str]:
    """Run a line of shell as the attacker; return its output."""

    def run(line: str) -> str:
        done = root_helper.as_second_user(["/bin/sh", "-euc", f"umask 022; {line}"])
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    return run


@pytest.fixture
def usual(
    attack: Callable[[str], str], root_helper: RootHelper, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Return the victim's default storage directory; it does not exist."""
    name = f"victim-{secrets.token_hex(8)}"
    monkeypatch.setenv("USER", name)
    monkeypatch.delenv("CH_IMAGE_STORAGE", raising=False)
    path = Path(f"/var/tmp/{name}.sundog")
    yield path
    attack(f"rm -rf {path} 2>/dev/null || :")
    if path.is_symlink():
        if path.lstat().st_uid == 0:
            root_helper.ask("unlink", path=str(path))
        else:
            path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def make_storage(storage: Path, tree: Path, whose: str) -> Path:
    """Make a storage directory of the victim with an image "app", which prints ``whose`` it is."""
    (tree / "whose").write_text(f"{whose}\n")
    run_program([*command("ch-image"), "-s", storage, "import", tree, "app"])
    return storage


@pytest.fixture
def own(place: Path, busybox_tree: Path) -> Path:
    """Return a storage directory of the victim, made by ch-image."""
    return make_storage(place / "own", busybox_tree, "own")


@pytest.fixture
def theirs(place: Path, busybox_tree: Path, attack: Callable[[str], str]) -> Iterator[Path]:
    """Return a storage directory of the attacker, with right modes and open to all."""
    model = make_storage(place / "model", busybox_tree, "theirs")
    subprocess.run(["chmod", "-R", "go+rX", model], check=True)
    parent = attack("mktemp -d /var/tmp/attacker.XXXXXX").strip()
    path = Path(parent) / "storage"
    attack(f"chmod 755 {parent}; cp -r --preserve=mode {model} {path}; rm {path}/locks/*")
    shutil.rmtree(model)
    yield path
    attack(f"chmod -R u+rwX {parent}; rm -rf {parent}")


def ch_run(*arguments: str | Path, cwd: Path | None = None, **env: str) -> Completed:
    return run_program([*command("ch-run"), *arguments], check=False, env=env, cwd=cwd)


def ch_image(*arguments: str | Path, **env: str) -> Completed:
    return run_program([*command("ch-image"), *arguments], check=False, env=env)


class Victim:
    """The victim, whose account has the name of the default storage directory ``usual``."""

    def __init__(self, usual: Path, root_helper: RootHelper) -> None:
        self._name = usual.name.removesuffix(".sundog")
        self._root_helper = root_helper

    def ch_run(self, *arguments: str | Path, cwd: Path | None = None, **env: str) -> Completed:
        return self._run([*command("ch-run"), *map(str, arguments)], env, cwd)

    def ch_image(self, *arguments: str | Path) -> Completed:
        return self._run([*command("ch-image"), *map(str, arguments)], {}, None)

    def _run(self, argv: list[str], env: dict[str, str], cwd: Path | None) -> Completed:
        done = self._root_helper.as_victim(self._name, argv, os.environ | env, cwd)
        texts = [stream.decode() for stream in (done.stdout, done.stderr)]
        return subprocess.CompletedProcess(argv, done.returncode, *texts)


@pytest.fixture
def victim(usual: Path, root_helper: RootHelper) -> Victim:
    return Victim(usual, root_helper)


def said(done: Completed) -> list[str]:
    """Return the error of ``ch-run``; the command did not run."""
    assert (done.returncode, done.stdout) == (31, ""), done
    lines = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    return [line.split("]: ", 1)[1] for line in lines]


# The usual path


def test_a_directory_of_another_is_not_the_victims(
    usual: Path,
    victim: Victim,
    theirs: Path,
    attack: Callable[[str], str],
    busybox_tree: Path,
) -> None:
    attack(f"cp -r --preserve=mode {theirs} {usual}")
    owner = usual.owner()
    refusal = [
        f"error: storage directory {usual} belongs to {owner}: each user has their own",
        f"hint: {OWN}",
    ]
    assert said(victim.ch_run("app", *SHOW)) == refusal
    # Nor if it is named, for example by a shell's start-up file.
    assert said(victim.ch_run("app", *SHOW, CH_IMAGE_STORAGE=f"{usual}/")) == refusal
    done = victim.ch_image("list")
    assert done.returncode == 1
    assert f"storage directory {usual} belongs to {owner}" in done.stderr
    # A directory is not a name, and does not need the storage directory.
    done = victim.ch_run("./busybox", *SHOW, cwd=busybox_tree.parent)
    assert done.stdout == "theirs\n", done.stderr


@pytest.mark.parametrize("target", ["theirs", "own", "nowhere"])
def test_a_symlink_of_another_is_not_followed(
    usual: Path,
    victim: Victim,
    theirs: Path,
    own: Path,
    attack: Callable[[str], str],
    *,
    target: str,
) -> None:
    attack(f"ln -s { ({'theirs': theirs, 'own': own}.get(target, '/nowhere')) } {usual}")
    owner = theirs.owner()
    assert said(victim.ch_run("app", *SHOW)) == [
        f"error: symbolic link {usual} belongs to {owner}: each user has their own",
        f"hint: {OWN}",
    ]
    for words in (["list"], ["reset"]):
        done = victim.ch_image(*words)
        assert done.returncode == 1
        assert words == ["reset"] or f"is a symbolic link that belongs to {owner}" in done.stderr
    assert (own / "images" / NAME).is_dir()


def test_a_name_that_is_not_the_victims_names_nothing_of_anothers(
    usual: Path, theirs: Path, attack: Callable[[str], str], place: Path
) -> None:
    """The account's own storage directory counts: it has no such image."""
    image = f"app-{place.name}"
    attack(f"ln -s {theirs} {usual}; cd {theirs}/images; mv {NAME} {NAME.replace('app', image)}")
    error, _ = said(ch_run(image, *SHOW))
    assert error.startswith(f"error: image not found: {image}")


def test_symlinks_of_the_victim_and_of_root_are_followed(
    usual: Path, own: Path, root_helper: RootHelper
) -> None:
    """So they are if $USER is not the account's name."""
    usual.symlink_to(own)
    assert ch_run("app", *SHOW).stdout == "own\n"
    assert ch_image("list").stdout == "app\n"
    usual.unlink()
    root_helper.ask("link", path=str(usual), target=str(own))
    assert usual.lstat().st_uid == 0
    assert ch_run("app", *SHOW).stdout == "own\n"
    assert ch_image("list").stdout == "app\n"


def test_a_symlink_of_the_victim_to_anothers_storage_is_not_the_victims(
    usual: Path, theirs: Path
) -> None:
    usual.symlink_to(theirs)
    error, _ = said(ch_run("app", *SHOW))
    owner = theirs.owner()
    assert error == f"error: storage directory {usual} belongs to {owner}: each user has their own"


# ch-image takes no directory over


@pytest.mark.parametrize("way", ["usual", "named", "above"])
def test_an_empty_directory_behind_anothers_symlink_stays(
    usual: Path,
    victim: Victim,
    theirs: Path,
    place: Path,
    attack: Callable[[str], str],
    *,
    way: str,
) -> None:
    empty = place / "above" / "empty"
    empty.mkdir(parents=True)
    empty.chmod(0o755)
    links = {"usual": usual, "named": theirs.parent / "link", "above": theirs.parent / "above"}
    attack(f"ln -s {empty.parent if way == 'above' else empty} {links[way]}")
    path = links[way] / "empty" if way == "above" else links[way]
    done = ch_image("-s", path, "list") if way != "usual" else victim.ch_image("list")
    assert done.returncode == 1
    assert "symbolic link that belongs to " in done.stderr
    if way == "above":
        assert f"hint: give its real path: --storage {empty}\n" in done.stderr
    assert list(empty.iterdir()) == []
    assert empty.stat().st_mode & 0o777 == 0o755
    assert ch_image("-s", empty, "list").returncode == 0


def test_a_storage_of_another_is_not_for_ch_image(theirs: Path) -> None:
    for words in (["list"], ["delete", "app"]):
        done = ch_image("-s", theirs, *words)
        assert done.returncode == 1
        assert f"storage directory {theirs} belongs to {theirs.owner()}" in done.stderr


# A storage directory that the user names


def test_a_well_kept_storage_of_another_is_run(theirs: Path, attack: Callable[[str], str]) -> None:
    assert ch_run("-s", theirs, "app", *SHOW).stdout == "theirs\n"
    assert ch_run("app", *SHOW, CH_IMAGE_STORAGE=str(theirs)).stdout == "theirs\n"
    assert ch_run("-s", theirs, "--notify", "app", *SHOW).stdout == "theirs\n"
    # All users may be able to write to the root directory of an image.
    attack(f"chmod 777 {theirs}/layers/*/tree {theirs}/images/*/root")
    assert ch_run("-s", theirs, "app", *SHOW).stdout == "theirs\n"
    # If the user may not enter a directory, others may not either.
    attack(f"chmod 700 {theirs}")
    error, _ = said(ch_run("-s", theirs, "app", *SHOW))
    assert error == f"error: can't look into the storage directory {theirs}: Permission denied"


def test_a_path_of_an_image_is_trusted_as_its_storage(
    usual: Path, victim: Victim, theirs: Path, own: Path, attack: Callable[[str], str]
) -> None:
    for image in (theirs / "img/app", theirs / "images" / NAME, theirs / "images" / NAME / "root"):
        assert ch_run(image, *SHOW).stdout == "theirs\n"
        attack(f"chmod o+w {theirs}/layers")
        error, _ = said(ch_run(image, *SHOW))
        assert error.startswith(f"error: can't trust the storage directory: {theirs}/layers is wri")
        attack(f"chmod o-w {theirs}/layers")
    # At the usual path, the victim means his own storage directory.
    attack(f"ln -s {theirs} {usual}")
    error, _ = said(victim.ch_run(usual / "img/app", *SHOW))
    owner = theirs.owner()
    assert error == f"error: symbolic link {usual} belongs to {owner}: each user has their own"
    attack(f"rm {usual}; cp -r --preserve=mode {theirs} {usual}")
    error, _ = said(victim.ch_run(usual / "images" / NAME, *SHOW))
    assert error == f"error: storage directory {usual} belongs to {owner}: each user has their own"
    # A link in img/ of another may lead anywhere, but it is not followed.
    attack(f"cd {theirs}/img; rm app; ln -s {own}/images/{NAME}/root app")
    assert ch_run(theirs / "img/app", *SHOW).stdout == "theirs\n"


ENTRIES = [
    *("", "images", f"images/{NAME}", f"images/{NAME}/stack", f"images/{NAME}/root/ch"),
    *("layers", "layers/ID", "trees", "skeleton", "skeleton/etc", "skeleton/etc/hosts"),
    *("skeleton/mnt", "skeleton/mnt/3"),
]


def test_what_others_could_write_is_not_run(
    theirs: Path, own: Path, attack: Callable[[str], str]
) -> None:
    (layer,) = (theirs / "layers").iterdir()
    for number, entry in enumerate(ENTRIES):
        path = theirs / entry.replace("ID", layer.name)
        attack(f"chmod {'g+w' if number % 2 else 'o+w'} {path}")
        mode = f"{path.stat().st_mode & 0o7777:04o}"
        error, hint = said(ch_run("-s", theirs, "app", *SHOW))
        assert error == (
            f"error: can't trust the storage directory: {path} is writable to others than its "
            f"owner (mode {mode})"
        )
        assert hint.startswith(f"hint: the owner of the storage can run: chmod go-w {path}; or ")
        attack(f"chmod go-w {path}")
    assert ch_run("-s", theirs, "app", *SHOW).stdout == "theirs\n"
    # The user's own storage directory is not trusted either once it is open.
    own.chmod(0o711)
    (own / "layers").chmod(0o733)
    error, _ = said(ch_run("-s", own, "app", *SHOW))
    assert f"{own}/layers is writable to others" in error
    own.chmod(0o700)
    assert ch_run("-s", own, "app", *SHOW).stdout == "own\n"


def test_what_a_third_user_owns_is_not_run(theirs: Path, attack: Callable[[str], str]) -> None:
    """Here it is a symbolic link, because only root can give a file away."""
    attack(f"mv {theirs}/skeleton {theirs}/elsewhere; ln -s elsewhere {theirs}/skeleton")
    error, _ = said(ch_run("-s", theirs, "app", *SHOW))
    assert error.endswith(f"{theirs}/skeleton is neither a directory nor a file")


def test_a_set_id_program_that_others_can_run(theirs: Path, attack: Callable[[str], str]) -> None:
    """A user who runs it becomes the storage's owner, and can change the image."""
    (tree,) = (theirs / "layers").glob("*/tree")
    program = tree / "bin/helper"
    attack(f"cp {tree}/bin/busybox {program}")
    for mode in ("4755", "2755", "6755", "4711", "4710"):
        attack(f"chmod {mode} {program}")
        error, hint = said(ch_run("-s", theirs, "app", *SHOW))
        assert error == (
            f"error: can't trust the storage directory: {program} runs as its owner, or its group, "
            "for everyone who starts it"
        )
        assert hint.startswith(f"hint: the owner of the storage can run: chmod ug-s {program}; or ")
    for harmless in ("0755", "4700", "6644"):
        attack(f"chmod {harmless} {program}")
        assert ch_run("-s", theirs, "app", *SHOW).stdout == "theirs\n"


def test_where_a_set_id_program_could_hide(theirs: Path, attack: Callable[[str], str]) -> None:
    (tree,) = (theirs / "layers").glob("*/tree")
    attack(f"mkdir {tree}/hidden; chmod 711 {tree}/hidden")
    error, _ = said(ch_run("-s", theirs, "app", *SHOW))
    assert f"{tree}/hidden can be entered but not listed" in error
    attack(f"chmod 700 {tree}/hidden")
    assert ch_run("-s", theirs, "app", *SHOW).stdout == "theirs\n"


def test_set_id_programs_mean_nothing_where_nosuid_is_mounted(
    small_tmpfs: Callable[[int, str], Path], busybox_tree: Path, root_helper: RootHelper
) -> None:
    """Here the attacker runs the victim's program, and keeps his own identity."""
    mounted = small_tmpfs(16384, "")
    (busybox_tree / "bin/cat").unlink()
    shutil.copy(busybox_tree / "bin/busybox", busybox_tree / "bin/cat")
    storage = make_storage(mounted / "storage", busybox_tree, "own")
    for path in (storage, *storage.parents[:2]):
        if path.stat().st_uid == os.getuid():
            path.chmod(0o755)
    subprocess.run(["chmod", "-R", "go+rX", storage], check=True)
    (program,) = storage.glob("layers/*/tree/bin/cat")
    program.chmod(0o6755)
    show = ["--", "/bin/cat", "/whose", "/proc/self/status"]
    done = root_helper.as_second_user([*command("ch-run"), "-s", str(storage), "app", *show])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "own"
    (uids,) = [line.split()[1:] for line in lines if line.startswith("Uid:")]
    assert len(set(uids)) == 1


# Races


def test_a_storage_that_is_swapped_in_between_is_noticed(
    monkeypatch: pytest.MonkeyPatch, place: Path, own: Path, theirs: Path
) -> None:
    """ch-run reads the owner before it enters the namespaces; afterwards it can't."""
    link = place / "link"
    link.symlink_to(own)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:

        def swap(uid: int, gid: int) -> None:
            link.unlink()
            link.symlink_to(theirs)
            enter_namespaces(uid, gid)

        monkeypatch.setattr(main, "enter_namespaces", swap)
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        words = ["-s", str(link), "app", *SHOW]
        status = 99
        try:
            status = main.run([os.fsencode(word) for word in words], Environment([b"PATH=/bin"]))
        finally:
            os._exit(status)
    os.close(write_end)
    with open(read_end, "rb") as stream:
        output = stream.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 31
    assert f"error: storage directory {link} was replaced by another at this moment\n" in output


SWAP = """
import os, sys
link, stop, *targets = sys.argv[1:]
for number in range(1000000):
    os.symlink(targets[number % 2], link + ".new")
    os.rename(link + ".new", link)
    if number % 64 == 0 and os.path.exists(stop):
        break
"""


def test_an_attacker_who_swaps_all_the_time(
    place: Path, own: Path, theirs: Path, root_helper: RootHelper, attack: Callable[[str], str]
) -> None:
    """The link leads to the victim's own storage, or to one that must not be trusted."""
    attack(f"chmod o+w {theirs}/images")
    link, stop = theirs.parent / "link", place / "stop"
    attack(f"ln -s {own} {link}")
    words = ["/usr/bin/python3", "-c", SWAP, *map(str, (link, stop, theirs, own))]
    attacker = threading.Thread(target=root_helper.as_second_user, args=(words,))
    attacker.start()
    try:
        outcomes = [ch_run("-s", link, "app", *SHOW) for _ in range(30)]
    finally:
        stop.touch()
        attacker.join()
    for done in outcomes:
        if done.returncode:
            said(done)
        else:
            assert done.stdout == "own\n"
