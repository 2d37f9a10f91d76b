"""Passwords and tokens: no message, no command line, no file of other readers has them."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.pull.conftest import faulty, no_logins, shelf
from tests.image.pull.faulty import Answer, basic_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Runner
    from tests.image.pull.faulty import Asked, FaultyRegistry

__all__ = ["faulty", "no_logins", "shelf"]

PASSWORD, TOKEN = "s3cret-Pa55", "t0ken-of-the-server"
SECRETS = (
    PASSWORD.encode(),
    base64.b64encode(f"u:{PASSWORD}".encode()),
    TOKEN.encode(),
)


def token_login(registry: FaultyRegistry) -> Callable[[Asked, Answer], Answer]:
    """Return a fault: the registry wants a token, and its token server name and password."""
    password = basic_login("u", PASSWORD)

    def check(asked: Asked, answer: Answer) -> Answer:
        if asked.path.startswith("/token"):
            return password(asked, Answer(200, {}, b'{"token": "%s"}' % TOKEN.encode()))
        if asked.headers.get("Authorization") == f"Bearer {TOKEN}":
            return answer
        realm = f'Bearer realm="http://{registry.host}/token",service="s"'
        return Answer(401, {"WWW-Authenticate": realm})

    return check


def command_lines() -> bytes:
    """Return the command lines of all processes."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes())
        except OSError:  # the process has ended
            continue
    return b"\n".join(found)


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "token"])
def test_they_show_nowhere(
    *,
    faulty: FaultyRegistry,
    run_ch_image: Runner,
    no_logins: Path,
    tmp_path: Path,
    bearer: bool,
) -> None:
    faulty.shelf.image(faulty.shelf.base(), tag="a:1")
    faulty.faults.append(token_login(faulty) if bearer else basic_login("u", PASSWORD))
    seen: list[bytes] = []

    def look(asked: Asked, answer: Answer) -> Answer:
        seen.append(command_lines())
        return answer

    faulty.faults.append(look)
    name = f"{faulty.host}/a:1"
    variables = {"CH_IMAGE_USERNAME": "u", "CH_IMAGE_PASSWORD": PASSWORD}
    loud = ("-vvv", "--debug")
    said = []
    login = subprocess.run(
        [*command("ch-image"), "login", *loud, "-u", "u", "--password-stdin", faulty.host],
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=True,
    )
    said += [login.stdout, login.stderr]
    assert stat.S_IMODE(no_logins.stat().st_mode) == 0o600
    for arguments, env, status in (
        (("pull", *loud, name), {}, 0),
        (("pull", *loud, "--always-download", "--auth", name), variables, 0),
        (("push", *loud, "--auth", name, f"{faulty.host}/b:1"), variables, 1),  # no push there
        (("pull", *loud, f"{faulty.host}/none"), {}, 1),
        (("list", *loud, "--remote", name), {}, 0),
        (("logout", *loud, faulty.host), {}, 0),
        (("pull", *loud, "--auth", name), variables | {"CH_IMAGE_PASSWORD": PASSWORD + "x"}, 1),
    ):
        done = run_ch_image(*arguments, env=env, check=False)
        assert done.returncode == status, done.stderr
        said += [done.stdout, done.stderr]
    text = "\n".join(said).encode()
    assert len(seen) > 10
    assert b"ch-image" in b"\n".join(seen)
    for secret in SECRETS:
        assert secret not in text
        assert secret not in b"\n".join(seen)
        for path in tmp_path.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert secret not in path.read_bytes(), path


def test_they_are_kept_where_only_the_user_reads(
    faulty: FaultyRegistry, tmp_path: Path, no_logins: Path
) -> None:
    faulty.faults.append(basic_login("u", PASSWORD))
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if "AUTH_FILE" not in name}
    environment |= {"HOME": str(home), "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": ""}
    subprocess.run(
        ["sh", "-c", 'umask 0 && exec "$@"', "sh", *command("ch-image"), "login", "-u", "u",
         "--password-stdin", faulty.host],
        env=environment,
        input=PASSWORD.encode(),
        check=True,
    )  # fmt: skip
    holders = [path for path in home.rglob("*") if path.is_file()]
    assert [path.name for path in holders] == ["auth.json"]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(holders[0].parent.stat().st_mode) == 0o700
