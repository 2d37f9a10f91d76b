"""A line of ``ch-run`` that another engine's line stands for, and how variables reach its command.

Values go by the environment of ``ch-run``, not by its command line, which all users of the machine
can read.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Variables that change how ch-run, its interpreter, a shell or the loader starts.  ch-run gets
# those of the host, and the command does not.
STEERING = (
    *("HOME", "PATH", "TERM", "TMPDIR", "USER", "LANG", "POSIXLY_CORRECT", "IFS", "ENV", "PS4"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"),
    *("SHELLOPTS", "BASHOPTS", "BASH_ENV", "GLIBC_TUNABLES", "GCONV_PATH"),
)
STEERING_STARTS = ("LD_", "LC_", "PYTHON", "SUNDOG_", "CH_", "MALLOC_")
# Variables of mpirun and srun that a rank of MPI needs: launcher/mpi.py.
MPI_STARTS = (
    *("FI_CXI_", "FLUX_", "HYDI_", "MPI_LOCAL", "OMPI_", "PALS_", "PMIX_", "PMI_", "PRTE_"),
    *("SLINGSHOT_", "SLURM_"),
)


class ChRunLine:
    """The arguments and the environment with which ``ch-run`` starts."""

    __slots__ = ("arguments", "environment")

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.arguments = arguments
        self.environment = environment


def steers(name: str) -> bool:
    """Tell whether a variable would change how ``ch-run`` itself starts."""
    return name in STEERING or name.startswith((*STEERING_STARTS, *MPI_STARTS))


class Passed:
    """The environment on its way to the command.

    configured   names of variables that the configuration of ch-run names: they steer it, too
    options      options of ``ch-run``, in their order
    environment  that of ``ch-run`` itself: what of the host's it needs, what ranks of MPI need, and
                 the values that ``options`` name
    """

    __slots__ = ("configured", "environment", "options")

    def __init__(
        self, host: Mapping[str, str], options: list[str], configured: Collection[str] = ()
    ) -> None:
        self.configured = configured
        self.options = options
        self.environment = {name: value for name, value in host.items() if self._steers(name)}

    def _steers(self, name: str) -> bool:
        return steers(name) or name in self.configured

    def show(self, name: str, value: str) -> None:
        """Pass a variable that everybody may see: the machine's users can read command lines."""
        # ch-run removes one pair of quotes.
        self.options.append(f"--set-env={name}='{value}'")

    def hide(self, name: str, value: str) -> None:
        """Pass a variable whose value may be a secret, unless it would steer ``ch-run`` anew."""
        if self._steers(name) and self.environment.get(name) != value:
            self.show(name, value)
        else:
            self.environment[name] = value
            self.options.append(f"--env={name}")
