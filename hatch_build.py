"""The wheel's build hook: make the files of the wheel that the checkout lacks.

The hook joins the modules of ``ch-run`` into modules of ``sundog/runtime/launcher``. It makes
manual pages and completion of all commands. It compiles ``ch-run`` if there is a C compiler. An
editable installation needs none of these files.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The script that starts Python. Without a compiler it is each command. Otherwise each command is
# the program, and executes the script of its name if the program can't do the work.
STUB = "packaging/ch-run"
STUBS = "share/sundog"
LIBRARY = "sundog/runtime/fast_path.x86_64.so"
COMMANDS = (
    *("ch-checkns", "ch-convert", "ch-fromhost", "ch-image", "ch-run", "ch-run-oci", "ch-test"),
    *("sundog", "sundog-fakeroot", "sundog-pyxis-importer"),
)


class WheelHook(BuildHookInterface[Any]):
    """Add the files to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files and tell hatchling their places in the wheel."""
        root = Path(self.root)
        self.made = tempfile.TemporaryDirectory(prefix="sundog-wheel.")
        directory = Path(self.made.name)
        self.stubs = copies(root / STUB, directory / "stubs")
        if version == "editable":
            build_data["shared_scripts"] |= self.stubs
            return
        self.add_start(root, directory, build_data)  # first: it may fail
        joiner = load(root, "join_launcher")
        for name in joiner.MODULES:
            joined = directory / f"{name}.py"
            joined.write_text(joiner.join(root / "src", name), encoding="utf-8")
            build_data["force_include"][str(joined)] = f"sundog/runtime/launcher/{name}.py"
        for name in joiner.FRONTS:
            joined = directory / f"{name}.py"
            joined.write_text(joiner.join_front(root / "src", name), encoding="utf-8")
            build_data["force_include"][str(joined)] = f"{name.replace('.', '/')}.py"
        joined = directory / "start.py"
        joined.write_text(joiner.join_start(root / "src"), encoding="utf-8")
        build_data["force_include"][str(joined)] = f"{joiner.START.replace('.', '/')}.py"
        share = directory / "share"
        maker = [sys.executable, "-B", str(root / "packaging" / "command_files.py")]
        subprocess.run([*maker, str(root), str(share)], check=True)
        for path in filter(Path.is_file, share.rglob("*")):
            build_data["shared_data"][str(path)] = f"share/{path.relative_to(share)}"

    def add_start(self, root: Path, directory: Path, build_data: dict[str, Any]) -> None:
        """Add the commands: compiled, in a wheel for one platform, or else only the script.

        A release must have the compiled program. The modules stay in the directory for pure
        Python, because the script looks for them there.
        """
        compiler = load(root, "compile_start")
        try:
            program, tag = compiler.compile_start(root, directory, os.environ)
        except compiler.NotCompiledError as reason:
            if os.environ.get(compiler.CHOICE) in compiler.MACHINES:
                raise
            self.app.display_info(f"ch-run: a script, which starts slower ({reason})")
            build_data["shared_scripts"] |= self.stubs
            return
        self.app.display_info(f"ch-run: compiled ({tag})")
        try:
            library = compiler.compile_library(root, directory, os.environ)
        except compiler.NotCompiledError as reason:
            self.app.display_info(f"no fast path of notify ({reason})")
        else:
            build_data["force_include"][str(library)] = LIBRARY
        build_data["tag"] = tag
        build_data["shared_scripts"] |= copies(program, directory / "programs")
        for script, name in self.stubs.items():
            build_data["shared_data"][script] = f"{STUBS}/{name}"

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove the files that ``initialize`` made."""
        self.made.cleanup()


def copies(file: Path, directory: Path) -> dict[str, str]:
    """Copy a file under the names of all commands; return the names, by the paths of the copies."""
    directory.mkdir()
    return {shutil.copy(file, directory / name): name for name in COMMANDS}


def load(root: Path, name: str) -> Any:
    """Load a module of ``packaging/``, which is not a package."""
    path = root / "packaging" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
