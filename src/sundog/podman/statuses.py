"""How ``ch-run`` is asked for podman's exit statuses: launcher/statuses.py."""

PODMAN_STATUSES = {"SUNDOG_STATUSES": "podman"}
