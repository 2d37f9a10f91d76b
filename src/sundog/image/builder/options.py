"""The options of a build, apart from the Dockerfile itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from sundog.image.builder.files.remote_access import RemoteAccess
from sundog.runtime.steps.command import StepOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.builder.bases import LookUp, Pull, Share
    from sundog.image.builder.files.context import BuildContext, NamedContext
    from sundog.image.builder.force import Force
    from sundog.image.builder.report import DivertedReport
    from sundog.image.builder.shared.place import Sharing
    from sundog.image.oci.platform import Platform

CACHE_ENABLED = "enabled"
CACHE_REBUILD = "rebuild"  # run every instruction again, and remember its result
CACHE_DISABLED = "disabled"  # look nothing up, and remember nothing
CACHE_MODES = (CACHE_ENABLED, CACHE_REBUILD, CACHE_DISABLED)
HOST_NETWORK, NO_NETWORK = "host", "none"
SQUASH_NEW, SQUASH_ALL = "new", "all"  # the layers that the build made; those of its base, too
CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"  # a build argument


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(StepOptions):
    """All that the user decides about RUN's commands: one value for the whole build.

    devices          those of --device
    cdi_directories  where the specifications of devices are
    access           what RUN may mount, and ADD may show to servers
    cache_namespace  tells the cache mounts of different users apart: $BUILDKIT_CACHE_MOUNT_NS
    captured         the one of ``stdout`` and ``stderr`` that is shown only on failure; -1: neither
    interactive      commands have a terminal that is connected to the user's
    network          of commands whose RUN names none: ``none``, or the host's
    retry            ``seccomp`` is a default: a RUN that fails may be tried again under ``notify``
    """

    force: Force
    devices: tuple[bytes, ...] = ()
    cdi_directories: tuple[bytes, ...] = ()
    access: RemoteAccess = field(default_factory=RemoteAccess)
    cache_namespace: str = ""
    captured: int = -1
    network: str = HOST_NETWORK
    interactive: bool = False
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Jobs:
    """At most ``count`` processes that build stages; ``report`` puts their messages in order.

    If ``keeps_going``, a failure does not end those that need nothing of it.
    """

    count: int
    report: DivertedReport
    keeps_going: bool = False


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of one build.

    tags             the names of the result, as the user typed them
    target           the stage to build; "" is the last one
    labels           in addition to those of the Dockerfile
    environment      has the proxies
    real_sync        leave RUN its fsync(2) and the like
    platform         of the images; by default this machine's
    pull             fetches images that are not in storage, if it is given
    is_modification  (ch-image modify) the result continues FROM's image, so its ONBUILD triggers
                     are kept, not run
    ignores_triggers FROM's ONBUILD triggers have no effect
    refreshes_bases  it fetches those that are in storage, too, if a registry has others
    share            brings images of shared stores into storage, if it is given
    look_up          finds out about such images, for shared caches, if it is given
    contexts         by name, as from ``graph.context_key``
    iidfile, metadata_file
                     the files that ``results`` writes
    uncached         the names or numbers of stages whose results are not looked up
    annotations      of the manifest, when the image leaves
    sharing          the caches that other stores share
    explains         say why the first result of each stage that was not found was not there
    squash           the layers of the result that become one: SQUASH_NEW, SQUASH_ALL or none
    jobs             the processes that build stages side by side; by default, there is one
    epoch            the image's time of creation, in seconds since 1970; by default now
    """

    tags: tuple[str, ...]
    context: BuildContext
    run: RunOptions
    build_args: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    iidfile: str = ""
    metadata_file: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    epoch: int | None = None
    cache_mode: str = CACHE_ENABLED
    dry_run: bool = False
    real_sync: bool = False
    is_modification: bool = False
    ignores_triggers: bool = False
    platform: Platform | None = None
    pull: Pull | None = None
    refreshes_bases: bool = False
    share: Share | None = None
    look_up: LookUp | None = None
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    uncached: tuple[str, ...] = ()
    sharing: Sharing | None = None
    explains: bool = False
    squash: str | None = None
    jobs: Jobs | None = None
