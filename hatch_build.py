"""The wheel's build hook: make what is in the wheel, but not in the checkout.

The modules of ``ch-run`` are joined into two of ``sundog/launcher``, and the manual page of
``ch-image`` is made of its document. An editable installation does without them.
"""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelHook(BuildHookInterface[Any]):
    """Add the files to the wheel; the script ``ch-run`` and its page are there by configuration."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files and tell hatchling where they go."""
        if version == "editable":
            return
        root = Path(self.root)
        self.made = tempfile.TemporaryDirectory(prefix="sundog-wheel.")
        joiner = load(root, "join_launcher")
        for name in joiner.MODULES:
            joined = Path(self.made.name) / f"{name}.py"
            joined.write_text(joiner.join(root / "src", name), encoding="utf-8")
            build_data["force_include"][str(joined)] = f"sundog/launcher/{name}.py"
        page = Path(self.made.name) / "ch-image.1"
        document = (root / "docs" / "ch-image.md").read_text(encoding="utf-8")
        page.write_text(load(root, "manual_page").page(document), encoding="utf-8")
        build_data["shared_data"][str(page)] = "share/man/man1/ch-image.1"

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
