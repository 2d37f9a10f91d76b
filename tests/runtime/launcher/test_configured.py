"""Each key of the configuration has its effect in the launcher in Python and in the compiled."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.runtime.launcher.compiled import Compiled, leave_accounts, python_start
from tests.runtime.launcher.conftest import ENVIRONMENT
from tests.runtime.launcher.storages import fill_storage, make_storage

Completed = subprocess.CompletedProcess[bytes]

KEYS_OF_STARTS = """
[storage]
directory = ["$NOT_SET/st", "/nonexistent/st", "{top}/%u/st", "{top}/other"]
[run]
bind = ["{top}/data:/mnt", "$DATA/%U:/new/%u:ro", "/nonexistent", "$NOT_SET/x:/y"]
write_fake = "40m"
tmpdir = "$DATA/tmp-%u"
[messages]
hint = "ask hpc@site, telephone 1234"
"""
USER = ENVIRONMENT["USER"]
SCRIPT = f"""
cat /mnt/file /new/{USER}/own /tmp/mark
test -e /y && echo y
touch /new/{USER}/x 2>/dev/null && echo writable
mount | while read -r line; do case $line in *size=40960k*) echo forty; break ;; esac; done
"""
SHOWN = b"data\nown\nmark\n"


class Site:
    """A directory with a storage, files to show, and a home; ``start`` is one of both launchers."""

    def __init__(self, top: Path, command: Path) -> None:
        self.top = top
        self.command = command
        self.storage = top / USER / "st"
        self.storage.parent.mkdir()
        fill_storage(make_storage(self.storage))
        leave_accounts(self.storage, os.geteuid(), os.getegid())
        for name, text in (
            ("data/file", "data\n"),
            (f"data/{os.geteuid()}/own", "own\n"),
            (f"data/tmp-{USER}/mark", "mark\n"),
        ):
            (top / name).parent.mkdir(exist_ok=True)
            (top / name).write_text(text)
        self.file = top / "home" / "sundog" / "sundog.toml"
        self.file.parent.mkdir(parents=True)
        for directory in (top, self.file.parent.parent, self.file.parent):
            directory.chmod(0o755)

    def write(self, text: str) -> None:
        """Write the user's file."""
        self.file.write_text(text.replace("{top}", str(self.top)))
        self.file.chmod(0o644)

    def start(self, *words: str, **variables: str) -> Completed:
        """Start a container."""
        return subprocess.run(
            [self.command, *words],
            env=ENVIRONMENT
            | {"XDG_CONFIG_HOME": str(self.top / "home"), "DATA": str(self.top / "data")}
            | variables,
            cwd=self.top,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(params=["python", pytest.param("compiled", marks=pytest.mark.slow)])
def site(request: pytest.FixtureRequest, installed: Path, tmp_path: Path) -> Site:
    """A site whose containers start in Python, or in the compiled program."""
    command = python_start(installed)
    if request.param == "compiled":
        compiled: Compiled = request.getfixturevalue("compiled")
        command = compiled.command
    top = tmp_path / "site"
    top.mkdir()
    return Site(top, command)


def test_each_key_of_a_start(site: Site) -> None:
    site.write(KEYS_OF_STARTS)
    for options, expected in (
        ((), SHOWN),
        (("-W",), SHOWN + b"forty\n"),
        (("-W41m",), SHOWN),
        (("-b", f"{site.top}/{USER}:/mnt"), b"own\nmark\n"),  # it lies over the site's
        (("-t",), b"data\nown\n"),
    ):
        done = site.start(*options, "app", "--", "sh", "-c", SCRIPT)
        assert done.stdout == expected, (options, done.stderr)
    done = site.start("--no-site-binds", "app", "--", "sh", "-c", SCRIPT)
    assert done.stdout == b"mark\n", done.stderr
    # A variable comes before the file, and an option before both.
    done = site.start("app", "--", "cat", "/tmp/file", TMPDIR=str(site.top / "data"))
    assert done.stdout == b"data\n", done.stderr
    for words, variables in (((), {"CH_IMAGE_STORAGE": "/var/tmp/x"}), (("-s", "/"), {})):
        done = site.start(*words, "app", "--", "true", **variables)
        assert done.returncode == 31
        assert b"image not found: app" in done.stderr
        assert done.stderr.endswith(b"]: hint: ask hpc@site, telephone 1234\n")
    done = site.start("app", "--", "true", SUNDOG_CONFIG="none")
    assert b"image not found: app" in done.stderr
    assert b"1234" not in done.stderr


def test_the_storage_is_hidden_wherever_it_is(site: Site) -> None:
    """A bind of the configuration shows neither the storage in use, nor another one."""
    (site.top / "other").mkdir(mode=0o700)
    (site.top / "other" / "version").write_text("sundog 1\n")
    site.write(KEYS_OF_STARTS.replace("{top}/data:/mnt", "{top}:/mnt"))
    script = f"cat /mnt/data/file; ls /mnt/other /mnt/{USER}/st"
    done = site.start("app", "--", "sh", "-c", script)
    assert done.stdout == f"data\n/mnt/other:\n\n/mnt/{USER}/st:\n".encode(), done.stderr


def test_a_mistake_stops_a_start_and_locks_nobody_out(site: Site) -> None:
    site.write("[run]\nbind = ['relative:/x']\n")
    done = site.start("-s", str(site.storage), "app", "--", "true")
    assert done.returncode == 31
    assert b"sundog.toml: run.bind: expected a list of at most 100 SRC[:DST[:ro]]" in done.stderr
    assert done.stderr.count(b"\n") == 2
    done = site.start("-s", str(site.storage), "app", "--", "true", SUNDOG_CONFIG="none")
    assert done.returncode == 0, done.stderr
    site.file.chmod(0o666)
    done = site.start("-s", str(site.storage), "app", "--", "true")
    assert done.returncode == 0
    assert b"warning: " in done.stderr
    assert b"sundog.toml is not believed" in done.stderr
