"""Variables by which ``sundog`` tells ``ch-run`` what no option says.

Both sides know them: ``launcher.statuses`` and ``launcher.join``.
"""

from __future__ import annotations

PODMAN_STATUSES = {"SUNDOG_STATUSES": "podman"}
JOIN_RUNNING = {"SUNDOG_JOIN": "running"}
WAITER = "SUNDOG_WAITER"
