"""No test depends on earlier actions on this machine, such as a login or a use of podman."""

from __future__ import annotations

import os
import pwd
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = {
    "skopeo": ["skopeo", "inspect", "docker://localhost:9/none"],
    "git": ["git", "ls-remote", "https://localhost:9/none"],
    "ch-image": [*command("ch-image"), "pull", "localhost:9/none"],
}


@pytest.mark.parametrize("program", list(PROGRAMS))
def test_no_settings_of_the_user_are_read(program: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = os.environ | {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=%file", "-o", log, *PROGRAMS[program]],
        env=environment,
        capture_output=True,
        check=False,
    )
    calls = log.read_text()
    assert os.environ["HOME"] in calls  # it looks for settings
    home = pwd.getpwuid(os.getuid()).pw_dir
    for place in (f'"{home}/.', '"/run/containers', '"/run/user'):
        assert place not in calls
