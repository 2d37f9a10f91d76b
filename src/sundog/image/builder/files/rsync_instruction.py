"""Turn an RSYNC, after substitution, into its step."""

from __future__ import annotations

import posixpath

from sundog.errors import SundogError
from sundog.image.dockerfile.rsync_options import RsyncOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.builder.files.rsync import RsyncStep
    from sundog.image.builder.state import BuildState
    from sundog.image.dockerfile.instructions import Rsync


def rsync_step(state: BuildState, instruction: Rsync, absolute: Callable[[str], str]) -> RsyncStep:
    """Return the step; ``absolute`` resolves a path in the image.  Raises DockerfileError."""
    from sundog.image.builder.files.rsync import RsyncStep  # few Dockerfiles have it

    dockerfile = state.dockerfile
    try:
        options = RsyncOptions.parse(instruction.plus, instruction.options)
    except SundogError as error:
        raise dockerfile.error(instruction, error.message, hint=error.hint) from error
    operands = " ".join((*instruction.sources, instruction.destination))
    return RsyncStep(
        f"{instruction.name} {options.text} {operands}",
        state.options.context,
        instruction.sources,
        absolute(instruction.destination),
        posixpath.basename(instruction.destination) in ("", ".", ".."),
        options,
        state.store,
        lambda error: dockerfile.error(instruction, error.message, hint=error.hint),
    )
