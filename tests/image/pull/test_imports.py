"""The imports of a pull before its first worker starts."""

import subprocess
import sys
from pathlib import Path

import sundog


def test_the_http_library_comes_when_it_is_needed() -> None:
    """This import takes longer than all others; meanwhile the worker gets ready."""
    modules = "sundog.image.registry.download", "sundog.image.registry.session"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import {', '.join(modules)}, sys; print(*sys.modules)",
        ],
        env={"PYTHONPATH": str(Path(sundog.__path__[0]).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sundog.image.transfer.layers" in done.stdout.split()
    assert "urllib3" not in done.stdout.split()
