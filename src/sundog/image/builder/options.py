"""The options of a build, apart from the Dockerfile itself."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.builder.bases import Pull
    from sundog.image.builder.files.context import BuildContext, NamedContext
    from sundog.image.builder.force import Force
    from sundog.image.builder.secrets import Secret, SshSource
    from sundog.image.oci.platform import Platform
    from sundog.runtime.process.relay import OutputSink

CACHE_ENABLED = "enabled"
CACHE_REBUILD = "rebuild"  # run every instruction again, and remember its result
CACHE_DISABLED = "disabled"  # look nothing up, and remember nothing
CACHE_MODES = (CACHE_ENABLED, CACHE_REBUILD, CACHE_DISABLED)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options for RUN's commands.

    ``binds`` are (source, destination, is writable) of each --bind; ``own`` are those sources that
    are in one of ``own_places``, directories that no other bind shows.  ``devices`` are those of
    --device, and ``cdi_directories`` where the specifications are.  ``stdout`` and ``stderr`` are
    the file descriptors that get the commands' output.  ``hidden`` is the one of these that is
    captured, to be shown only on failure; -1: neither.  ``output`` takes the output in place of the
    descriptors.
    ``interactive`` commands have a terminal that is connected to the user's.
    """

    force: Force
    binds: tuple[tuple[bytes, bytes, bool], ...] = ()
    own: frozenset[bytes] = frozenset()
    own_places: tuple[bytes, ...] = ()
    devices: tuple[bytes, ...] = ()
    cdi_directories: tuple[bytes, ...] = ()
    stdout: int = 1
    stderr: int = 2
    hidden: int = -1
    output: OutputSink | None = None
    interactive: bool = False


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of one build.

    tags             the names of the result, as the user typed them
    target           the stage to build; "" is the last one
    labels           in addition to those of the Dockerfile
    environment      has the proxies
    secrets, ssh     by ID
    real_sync        leave RUN its fsync(2) and the like
    platform         of the images; by default this machine's
    pull             fetches images that are not in storage, if it is given
    is_modification  (ch-image modify) the result continues FROM's image, so its ONBUILD triggers
                     are kept, not run
    contexts         by name, as from ``graph.context_key``
    iidfile, metadata_file
                     the files that ``results`` writes
    epoch            the image's time of creation, in seconds since 1970; by default now
    """

    tags: tuple[str, ...]
    context: BuildContext
    run: RunOptions
    build_args: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ssh: Mapping[str, SshSource] = field(default_factory=dict)
    iidfile: str = ""
    metadata_file: str = ""
    epoch: int | None = None
    cache_mode: str = CACHE_ENABLED
    dry_run: bool = False
    real_sync: bool = False
    is_modification: bool = False
    platform: Platform | None = None
    pull: Pull | None = None
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
