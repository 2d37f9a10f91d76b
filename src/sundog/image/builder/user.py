"""``USER``: the user of RUN's commands, and of the directories that WORKDIR makes.

Specification: the Dockerfile reference, USER.  Only a supervisor can make a command see itself as
another user than root.  Without a supervisor, it stays root.
"""

from __future__ import annotations

from sundog.base.record.identity import find_identity
from sundog.image.builder.files.chown import GROUP, PASSWD, account_file
from sundog.image.builder.tree_step import encoded
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.record.identity import Identity
    from sundog.image.builder.force import Force
    from sundog.runtime.container.root import Root

_ROOT = ("", "0", "root")


def emulated_user(user: str, force: Force) -> str:
    """Return ``user`` if it changes the files and commands of a build, else ""."""
    return "" if is_root(user) or not force.notify else user


def stays_root(force: Force) -> str:
    """Return the warning about a RUN after USER, if ``force`` does not run it as that user."""
    return f"RUN stays root after USER with --force={force.mode}; notify runs it as that user"


def is_root(user: str) -> bool:
    """Tell whether ``user`` (the value of USER) is root, who runs RUN's commands anyway."""
    name, _, group = user.partition(":")
    return name in _ROOT and group in _ROOT


def identify(user: str, root: Root) -> Identity:
    """Return the identity of ``user`` in the image ``root``; raise SundogError for unknown names.

    ``root`` is a snapshot's, before any change.  This function does not mount the snapshot itself,
    because a volatile overlay can be mounted only once.
    """
    words = encoded(user)

    def look_up(roots: list[int]) -> tuple[bytes, bytes]:
        return account_file(roots[0], PASSWD), account_file(roots[0], GROUP)

    return find_identity(words, *in_root([root.unchanged()], look_up))
