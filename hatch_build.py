"""The wheel's build hook: join the modules of ``ch-run`` into ``sundog/launcher/ch_run.py``.

An editable installation runs the modules as they are.
"""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LauncherHook(BuildHookInterface[Any]):
    """Add the joined module to the wheel; the script ``ch-run`` is there by configuration."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the file and tell hatchling where it goes."""
        if version == "editable":
            return
        root = Path(self.root)
        self.made = tempfile.TemporaryDirectory(prefix="sundog-wheel.")
        joined = Path(self.made.name) / "ch_run.py"
        joined.write_text(load_joiner(root).join(root / "src"), encoding="utf-8")
        build_data["force_include"][str(joined)] = "sundog/launcher/ch_run.py"

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove what ``initialize`` made."""
        if version != "editable":
            self.made.cleanup()


def load_joiner(root: Path) -> Any:
    """Return the module ``packaging/join_launcher.py``, which is in no package."""
    path = root / "packaging" / "join_launcher.py"
    spec = importlib.util.spec_from_file_location("join_launcher", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
