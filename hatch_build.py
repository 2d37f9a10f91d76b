"""The wheel's build hook: make what is in the wheel, but not in the checkout.

The modules of ``ch-run`` are joined into two of ``sundog/launcher``, the manual page of
``ch-image`` is made of its document, and ``ch-run`` itself is compiled where a compiler can. An
editable installation does without them.
"""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The script that starts Python: it is ch-run itself, or what the compiled ch-run hands over to.
STUB = "packaging/ch-run"
STUB_BELOW_SHARE = "share/sundog/ch-run"


class WheelHook(BuildHookInterface[Any]):
    """Add the files to the wheel; the script ``ch-image`` and the pages are there already."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files and tell hatchling where they go."""
        if version == "editable":
            build_data["shared_scripts"][STUB] = "ch-run"
            return
        root = Path(self.root)
        self.made = tempfile.TemporaryDirectory(prefix="sundog-wheel.")
        directory = Path(self.made.name)
        joiner = load(root, "join_launcher")
        for name in joiner.MODULES:
            joined = directory / f"{name}.py"
            joined.write_text(joiner.join(root / "src", name), encoding="utf-8")
            build_data["force_include"][str(joined)] = f"sundog/launcher/{name}.py"
        page = directory / "ch-image.1"
        document = (root / "docs" / "ch-image.md").read_text(encoding="utf-8")
        page.write_text(load(root, "manual_page").page(document), encoding="utf-8")
        build_data["shared_data"][str(page)] = "share/man/man1/ch-image.1"
        self.add_start(root, directory, build_data)

    def add_start(self, root: Path, directory: Path, build_data: dict[str, Any]) -> None:
        """Add ``ch-run``: compiled in a wheel for one platform, or else the script alone.

        For a release it must be compiled. Of the modules nothing is compiled: they stay where
        those of a pure wheel are, because the script looks for them there.
        """
        compiler = load(root, "compile_start")
        try:
            program, tag = compiler.compile_start(root, directory, os.environ)
        except compiler.NotCompiledError as reason:
            if os.environ.get(compiler.CHOICE) in compiler.MACHINES:
                raise
            self.app.display_info(f"ch-run: a script, which starts slower ({reason})")
            build_data["shared_scripts"][STUB] = "ch-run"
            return
        self.app.display_info(f"ch-run: compiled ({tag})")
        build_data["tag"] = tag
        build_data["shared_scripts"][str(program)] = "ch-run"
        build_data["shared_data"][STUB] = STUB_BELOW_SHARE

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove what ``initialize`` made."""
        if version != "editable":
            self.made.cleanup()


def load(root: Path, name: str) -> Any:
    """Return a module of ``packaging/``, which is in no package."""
    path = root / "packaging" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
