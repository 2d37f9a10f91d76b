"""Lay out ``ch-run`` as pip does: the stub, the joined module, an interpreter beside them."""

import importlib.util
import py_compile
import shutil
import sys
import types
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
JOINED = Path("sundog", "launcher", "ch_run.py")


def load_joiner() -> types.ModuleType:
    path = CHECKOUT / "packaging" / "join_launcher.py"
    spec = importlib.util.spec_from_file_location("join_launcher", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def joined_text() -> str:
    text: str = load_joiner().join(CHECKOUT / "src")
    return text


def interpreter() -> Path:
    """The interpreter of these tests outside of its virtual environment."""
    return Path(sys._base_executable)  # type: ignore[attr-defined]


def install(prefix: Path, *, compiled: bool = True, site: str = "site-packages") -> Path:
    """Install under ``prefix`` as into a virtual environment; return the command."""
    module = prefix / "lib" / VERSION / site / JOINED
    module.parent.mkdir(parents=True)
    module.write_text(joined_text())
    if compiled:
        py_compile.compile(str(module), doraise=True)
    command = prefix / "bin" / "ch-run"
    command.parent.mkdir()
    shutil.copy(CHECKOUT / "packaging" / "ch-run", command)
    command.chmod(0o755)
    (command.parent / VERSION).symlink_to(interpreter())
    return command
