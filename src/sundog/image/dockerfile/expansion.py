"""The words of each instruction in which variables are substituted, as data; and the substitution.

Specification: the Dockerfile reference, “Environment replacement”.  BuildKit for what that list
leaves open: the flags ``--chown``, ``--chmod`` and ``--checksum`` are expanded, ``--from`` is not.
"""

from __future__ import annotations

from dataclasses import replace

from sundog.image.dockerfile.heredocs import Heredoc
from sundog.image.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    From,
    Instruction,
    Label,
    Nsync,
    Rsync,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from sundog.image.dockerfile.words import expand, expand_document, expand_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    InstructionT = TypeVar("InstructionT", bound=Instruction)

# Fields in which each word stays one word, and each heredoc body one text.
EXPANDED: dict[type[Instruction], tuple[str, ...]] = {
    Add: ("sources", "destination", "heredocs", "chown", "chmod", "checksum"),
    Arg: ("variables",),
    Copy: ("sources", "destination", "heredocs", "chown", "chmod"),
    Env: ("pairs",),
    From: ("image_text", "platform", "variables"),
    Label: ("pairs",),
    Nsync: ("options", "sources", "destination"),
    Rsync: ("options", "sources", "destination"),
    Stopsignal: ("signal",),
    User: ("user",),
    Volume: ("volumes",),
    Workdir: ("path",),
}

# Fields in which a word can become several.
SPLIT: dict[type[Instruction], tuple[str, ...]] = {Expose: ("ports",)}


def expand_instruction(
    instruction: InstructionT, variables: Mapping[str, str], escape: str = "\\"
) -> InstructionT:
    """Return the instruction with ``variables`` substituted; raise SubstitutionError.

    All words of an instruction see the same values: ``ENV a=1 b=$a`` gives ``b`` the old ``a``.
    """
    changes: dict[str, Any] = {}
    for field in EXPANDED.get(type(instruction), ()):
        changes[field] = _expanded(getattr(instruction, field), variables, escape)
    for field in SPLIT.get(type(instruction), ()):
        words = (expand_words(word, variables, escape) for word in getattr(instruction, field))
        changes[field] = tuple(word for several in words for word in several)
    return replace(instruction, **changes)


def _expanded(value: Any, variables: Mapping[str, str], escape: str) -> Any:
    """Expand a field: a word, a heredoc, None, or a tuple of these."""
    if isinstance(value, str):
        return expand(value, variables, escape)
    if isinstance(value, tuple):
        return tuple(_expanded(item, variables, escape) for item in value)
    if isinstance(value, Heredoc) and value.expand:
        # Strip the tabs first, so that tabs in a value stay.
        return replace(value, content=expand_document(value.body, variables), strip_tabs=False)
    return value
