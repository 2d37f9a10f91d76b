"""A site's log has a line for each command that changes images or sends them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.conftest import runner, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

Line = tuple[object, ...]


def test_the_log_of_commands(run_ch_image: Runner, storage: Path, bb: str, tmp_path: Path) -> None:
    log, home = tmp_path / "log", tmp_path / "home"
    log.touch(0o600)
    (home / "sundog").mkdir(parents=True)
    for directory in (home, home / "sundog"):
        directory.chmod(0o755)
    settings = home / "sundog" / "sundog.toml"
    settings.write_text(f"[log]\nplace = '{log}'\n")
    settings.chmod(0o644)
    environment = {"XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    context = tmp_path / "app"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {bb}\nENV a=b\n")
    (tmp_path / "tree").mkdir()

    def lines(*words: str | Path, status: int = 0, run: Runner = run_ch_image) -> list[Line]:
        log.write_bytes(b"")
        done = run(*words, check=False, env=environment)
        assert done.returncode == status, done.stderr
        found = [json.loads(line) for line in log.read_text().splitlines()]
        for line in found:
            assert line["uid"] == os.geteuid()
            assert 0 < line["duration"] < 100
        names = ("command", "image", "id", "status")
        return [tuple(line[name] for name in names) for line in found]

    def identity(name: str) -> str:
        listed = json.loads(run_ch_image("list", "--format=json").stdout)
        return next(str(each["id"]) for each in listed if each["name"] == name)

    built = lines("build", "--build-arg=SECRET=a-secret", context)
    assert "a-secret" not in log.read_text()
    app = identity("app")
    assert built == [("ch-image build", "app", app, 0)]
    built = lines("build", "-t", "named", context)
    assert built == [("ch-image build", "named", identity("named"), 0)]
    assert lines("build", "--dry-run", context) == []
    tree = tmp_path / "tree"
    assert lines("import", "-a", "host", tree, "new") == [
        ("ch-image import", "new", identity("new"), 0)
    ]
    assert lines("delete", "app", "named") == [("ch-image delete", "app named", app, 0)]
    assert lines("delete", "app", status=1) == [("ch-image delete", "app", None, 1)]
    for words, name in (
        (("push", "ada:a-secret@localhost:1/x"), None),
        (("pull", "localhost:1/x", "y"), "y"),
    ):
        assert lines(*words, status=1) == [(f"ch-image {words[0]}", name, None, 1)]
    converted = lines(bb, tmp_path / "bb.tar.gz", run=runner("ch-convert", storage))
    assert converted == [("ch-convert", bb, None, 0)]
    assert lines("list") == []


def test_lines_that_are_lost(run_ch_image: Runner, tmp_path: Path) -> None:
    """They change nothing, and the next line tells their number; here that of a program."""
    home, told = tmp_path / "home", tmp_path / "told"
    (home / "sundog").mkdir(parents=True)
    for directory in (tmp_path, home, home / "sundog"):
        directory.chmod(0o755)
    environment = {"XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    for place in ("/nonexistent/log", f"|/usr/bin/tee {told}"):
        settings = home / "sundog" / "sundog.toml"
        settings.write_text(f"[log]\nplace = '{place}'\n")
        settings.chmod(0o644)
        done = run_ch_image("delete", "new", check=False, env=environment)
        assert done.stderr == "error: no matching image, can't delete: new\nhint: ch-image list\n"
    until(lambda: told.exists() and told.read_text().endswith("\n"))
    line = json.loads(told.read_text())
    assert (line["command"], line["status"], line["lost"]) == ("ch-image delete", 1, 1)
