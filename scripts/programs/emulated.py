"""Run a row as an ordinary user, under `ch-run -W --notify` or in a RUN of `ch-image build`.

Each goes two ways: with the fast path (docs/explanation/fast-path.md) and without.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account, install
from scripts.place import WorkshopError
from scripts.programs import inside
from scripts.programs.images import PATH
from scripts.programs.real import ALONE, MARGIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.programs.images import Image
    from scripts.programs.rows import Row

USER = "sundog"
FAST_PATH, WAYS = "SUNDOG_FAST_PATH", ("no", "yes")
# As real root's side: alone. What follows runs as the user $1.
SETUP = """
set -e; user=$1; shift
mount -t proc proc /proc
ip link set lo up
exec setpriv --reuid="$user" --regid="$user" --init-groups env -i "$@"
"""


@dataclass(frozen=True)
class Runner:
    """An ordinary user; ``place`` is a directory of his, with his storage in it."""

    user: account.Account
    environment: Mapping[str, str]
    place: Path

    @classmethod
    def make(cls, place: Path) -> Runner:
        """Return the runner of an ordinary user who has this checkout's Sundog."""
        user = account.ordinary(USER)
        programs = install.environment("fidelity", install.SYSTEM_PYTHON, extra="[fast]")
        place.mkdir(exist_ok=True)
        os.chown(place, user.uid, user.gid)
        environment = account.environment(user, programs)
        return cls(user, environment | {"CH_IMAGE_STORAGE": str(place / "storage")}, place)

    def have(self, image: Image) -> None:
        """Import an image, unless the storage has it."""
        if image.tarball.stem not in self._call(["ch-image", "list"], 600).split():
            self._call(["ch-image", "import", str(image.tarball), image.tarball.stem], 1800)

    def on(self, way: str) -> Runner:
        """Return a runner that has the fast path, or not: one of WAYS."""
        return replace(self, environment={**self.environment, FAST_PATH: way})

    def run(self, row: Row, image: Image) -> inside.Result:
        """Return the result of a row."""
        limit = int(row.options["seconds"]) * 2 + MARGIN
        run = self._build if row.options["where"] == "RUN" else self._ch_run
        try:
            return inside.read(run(row, image.tarball.stem, limit))
        except subprocess.TimeoutExpired as error:
            return inside.Result(str(error.stdout), None)

    def _ch_run(self, row: Row, image: str, limit: int) -> str:
        options = ["-W", "--notify", "--no-fallback", "--private-tmp", "--cd=/", "--unset-env=*"]
        variables = ("HOME=/root", "LANG=C.UTF-8", f"PATH={PATH}")
        options += [f"--env={variable}" for variable in variables]
        return self._call(["ch-run", *options, image, "--", *inside.command(row)], limit)

    def _build(self, row: Row, image: str, limit: int) -> str:
        directory = Path(tempfile.mkdtemp(dir=self.place))
        os.chown(directory, self.user.uid, self.user.gid)
        dockerfile = directory / "Dockerfile"
        script = json.dumps(inside.command(row))
        dockerfile.write_text(f"FROM {image}\nENV HOME=/root LANG=C.UTF-8\nRUN {script}\n")
        tag = f"{row.family}-{row.name}".lower()
        build = ["ch-image", "build", "--force=notify", "-t", tag, "-f", str(dockerfile)]
        try:
            return self._call([*build, "--no-cache", str(directory)], limit)
        finally:
            self._call(["ch-image", "delete", tag], 60)
            shutil.rmtree(directory)

    def _call(self, command: Sequence[str], limit: int) -> str:
        """Return the output of a command of Sundog's; raise WorkshopError if an import fails."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        setup = ["sh", "-c", SETUP, "sh", self.user.name, *variables]
        done = subprocess.run(
            [*ALONE, *setup, *command],
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            timeout=limit,
            umask=0o022,
            check=False,
        )
        if done.returncode and command[1] == "import":
            raise WorkshopError(f"{' '.join(command)}: {done.stdout}")
        return done.stdout
