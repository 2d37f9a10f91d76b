"""What a build is asked to do, apart from the Dockerfile itself."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.builder.bases import Pull
    from sundog.builder.files.context import BuildContext, NamedContext
    from sundog.builder.force import Force
    from sundog.builder.secrets import Secret, SshSource
    from sundog.oci.platform import Platform

CACHE_ENABLED = "enabled"
CACHE_REBUILD = "rebuild"  # every instruction is done again, and remembered
CACHE_DISABLED = "disabled"  # nothing is looked up or remembered
CACHE_MODES = (CACHE_ENABLED, CACHE_REBUILD, CACHE_DISABLED)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How RUN's commands are run.

    ``binds`` are (source, destination) pairs; ``stdout`` and ``stderr`` the file descriptors that
    the commands get; ``hidden`` is the file among these that nobody sees, -1 if there is none.
    """

    force: Force
    binds: tuple[tuple[bytes, bytes], ...] = ()
    stdout: int = 1
    stderr: int = 2
    hidden: int = -1


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What one build is to do.

    ``tags`` name the result, as the user typed them; ``target`` is the stage to build, the last one
    if ""; ``labels`` come on top of those of the Dockerfile; proxies are taken from
    ``environment``; ``secrets`` and ``ssh`` are by their IDs; ``real_sync`` leaves RUN its fsync(2)
    and the like.  Images are for ``platform``, by default this machine's; those that are not in
    storage come by ``pull``, if it is given.  With ``is_modification`` the image of FROM itself
    goes on: its ONBUILD triggers stay what they are.  ``contexts`` are by name, as
    ``graph.context_key`` has it.  To the files ``iidfile`` and ``metadata_file`` goes what
    ``results`` says.  ``epoch`` is when the image says that it was made, in seconds since 1970; by
    default it is now.
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
