"""``python -m sundog.runtime.launcher``: ``ch-run`` from a source tree."""

from __future__ import annotations

import sys

from sundog.runtime.launcher.main import start

start(sys.argv[1:])
