"""The same installs as an ordinary user, by ch-image build, and their results."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import account
from scripts.fidelity import entries, inside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.fidelity.entries import View
    from scripts.fidelity.sets import PackageSet


class BuildFailed(Exception):
    """A build failed that should have succeeded; the text is the last that it printed."""


@dataclass(frozen=True)
class Made:
    """A build's result: ``tree`` from its layers' tars, and the paths that the install ``made``.

    ``inside`` has the output of programs, by the place where they ran, then by their names.
    """

    tree: View
    made: frozenset[str]
    inside: dict[str, dict[str, View]]


@dataclass(frozen=True)
class Builder:
    """An ordinary user with a storage directory of his own.

    ``place`` is a directory of his; ``python`` runs the modules of his commands.
    """

    user: account.Account
    environment: Mapping[str, str]
    place: Path
    python: str

    def make(self, packages: PackageSet, base: Path, mode: str) -> Made:
        """Import a base image, install on it, look, and export; raise BuildFailed."""
        self._run("ch-image", "import", str(base), "base")
        dockerfile = self.place / "Dockerfile"
        look = json.dumps(["/bin/sh", "-c", inside.SCRIPT])
        dockerfile.write_text(f"FROM base\nRUN {packages.script}\n")
        build = ("ch-image", "build", f"--force={mode}", "-f", str(dockerfile))
        self._run(*build, "-t", "installed", str(self.place))
        dockerfile.write_text(f"FROM installed\nRUN {look}\n")
        self._run(*build, "-t", "looked", str(self.place))
        tree, made = entries.of_layers(self._layers("installed"))
        (*_, top) = self._layers("looked")
        looks = {"RUN": inside.read(self._look(top))}
        if mode == "notify":
            looks["ch-run"] = inside.read(self._look_by_ch_run())
        return Made(tree, made, looks)

    def _layers(self, image: str) -> list[Path]:
        """Return an image's layers as tars, bottom first."""
        directory = self.place / "layers"
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir()
        shutil.chown(directory, self.user.uid, self.user.gid)
        script = self.place / "export.py"  # the user may not be able to read the checkout
        shutil.copyfile(Path(__file__).with_name("export.py"), script)
        storage = self.environment["CH_IMAGE_STORAGE"]
        self._run(self.python, str(script), storage, image, str(directory))
        return sorted(directory.iterdir(), key=lambda path: int(path.stem))

    def _look(self, layer: Path) -> Path:
        """Unpack the programs' output."""
        directory = self.place / "look"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        with tarfile.open(layer) as tar:
            for program in inside.PROGRAMS:
                try:
                    file = tar.extractfile(f"{inside.DIRECTORY[1:]}/{program}")
                except KeyError:
                    continue  # the image lacks the program
                if file is not None:
                    (directory / program).write_bytes(file.read())
        return directory

    def _look_by_ch_run(self) -> Path:
        """Bind a directory of the host at /tmp, to which the programs write."""
        temporary = self.place / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        shutil.chown(temporary, self.user.uid, self.user.gid)
        command = ("ch-run", "--notify", "installed", "--", "/bin/sh", "-c", inside.SCRIPT)
        self._run(*command, TMPDIR=str(temporary))
        return temporary / inside.DIRECTORY.rpartition("/")[2]

    def _run(self, *command: str, **more: str) -> None:
        environment = {**self.environment, **more}
        with (self.place / "log").open("w+", errors="replace") as log:
            status = account.run(self.user, command, env=environment, cwd=self.place, output=log)
            log.seek(0)
            output = log.read()
        if status:
            tail = "\n".join(f"  | {line}" for line in output.splitlines()[-20:])
            raise BuildFailed(f"{' '.join(command)}: exit status {status}\n{tail}")
