"""The results of a supervised container, which cross from the supervisor to its caller."""

from __future__ import annotations

from sundog.base.record.owners import OwnersManifest, pack_owners, unpack_owners
from sundog.base.wire.outcomes import NO_OUTCOME
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Supervised:
    """The results of a supervised step.

    owners      the records for its layer, about the paths in the layer
    statistics  for people
    incidents   the first calls that the supervisor failed to answer, and left to the kernel
    failures    the number of all such calls
    mounted     the records for each mount whose changes must be reported
    hints       what users should know of refusals
    refusals    what the kernel refused to an emulated root, which real root may do
    """

    __slots__ = ("failures", "hints", "incidents", "mounted", "owners", "refusals", "statistics")

    def __init__(
        self,
        owners: OwnersManifest,
        statistics: list[str],
        incidents: list[str],
        failures: int,
        mounted: list[OwnersManifest],
        *,
        hints: Sequence[str] = (),
        refusals: Sequence[str] = (),
    ) -> None:
        self.owners = owners
        self.statistics = statistics
        self.incidents = incidents
        self.failures = failures
        self.mounted = mounted
        self.hints = hints
        self.refusals = refusals

    def pack(self) -> tuple[object, ...]:
        """Return the results as plain values, for another process."""
        mounted = [pack_owners(owners) for owners in self.mounted]
        told = self.statistics, self.incidents, self.failures, mounted
        return pack_owners(self.owners), *told, list(self.hints), list(self.refusals)

    @classmethod
    def unpack(cls, value: object) -> Supervised:
        """Return the results in a ``value`` of ``pack``.  Raises SundogError for anything else."""
        try:
            match value:
                case (
                    bytes(owners),
                    list(statistics),
                    list(incidents),
                    int(failures),
                    list(mounted),
                    list(hints),
                    list(refusals),
                ):
                    return cls(
                        unpack_owners(owners),
                        [str(line) for line in statistics],
                        [str(line) for line in incidents],
                        failures,
                        [unpack_owners(packed) for packed in mounted],
                        hints=[str(line) for line in hints],
                        refusals=[str(line) for line in refusals],
                    )
        except (TypeError, AttributeError, ValueError):
            pass
        raise SundogError(NO_OUTCOME)
