"""--security-opt of podman and docker."""

from __future__ import annotations


def harmless_security(value: str) -> bool:
    """Tell whether a --security-opt asks for what is so in any case, or takes nothing away."""
    name = value.replace(":", "=").partition("=")[0]
    return name in ("label", "no-new-privileges", "systempaths", "unmask") or value in (
        *("seccomp=unconfined", "seccomp:unconfined"),
        *("apparmor=unconfined", "apparmor:unconfined"),
    )
