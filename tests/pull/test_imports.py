"""What a pull imports before its first worker is there."""

import subprocess
import sys
from pathlib import Path

import sundog


def test_what_speaks_http_comes_when_it_is_needed() -> None:
    """Its import takes a while: the worker gets ready in the meantime."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sundog.registry.download, sundog.registry.session, sys; print(*sys.modules)",
        ],
        env={"PYTHONPATH": str(Path(sundog.__path__[0]).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sundog.transfer.layers" in done.stdout.split()
    assert not {"socket", "ssl", "sundog.registry.transport"} & set(done.stdout.split())
