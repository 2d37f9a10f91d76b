"""All checks of a machine, in the order in which they are printed."""

from __future__ import annotations

from sundog.front.doctor.apparmor import apparmor_check
from sundog.front.doctor.features import FEATURES
from sundog.front.doctor.host import HOST
from sundog.front.doctor.namespaces import ROOT_EMULATION, STEPS
from sundog.front.doctor.network import NETWORK
from sundog.front.doctor.programs import PROGRAMS
from sundog.front.doctor.slurm import slurm_checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.front.doctor.outcome import Check


def kernel_checks() -> Iterator[Check]:
    """Yield the checks of what the kernel and the site allow."""
    yield from STEPS
    yield apparmor_check()
    yield from ROOT_EMULATION
    yield from FEATURES


def surrounding_checks() -> Iterator[Check]:
    """Yield the checks of the user, the programs, Slurm, and the way to registries."""
    yield from HOST
    yield from PROGRAMS
    yield from slurm_checks()
    yield from NETWORK
