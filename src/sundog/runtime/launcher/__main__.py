"""``python -m sundog.runtime.launcher``: ``ch-run`` from a source tree."""

import sys

from sundog.runtime.launcher.main import start

start(sys.argv[1:])
