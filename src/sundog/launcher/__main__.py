"""``python -m sundog.launcher``: ``ch-run`` from a source tree."""

import sys

from sundog.launcher.main import start

start(sys.argv[1:])
