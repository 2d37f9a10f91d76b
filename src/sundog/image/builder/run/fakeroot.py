"""``--force=fakeroot``: run the commands that need root under the program ``fakeroot``.

fakeroot(1) is a library (LD_PRELOAD) and a daemon in the image itself.  A recipe says how to
install it.  What the recipe does becomes part of the layer of the first RUN that needs fakeroot, as
in Charliecloud.  The messages are Charliecloud's, too.
"""

from __future__ import annotations

from sundog.errors import BuildError
from sundog.image.builder.files.chown import account_file
from sundog.image.builder.run.recipes import RECIPES
from sundog.image.builder.tree_step import decoded, encoded
from sundog.runtime.steps.step import in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.image.builder.report import Report
    from sundog.image.builder.run.recipes import Recipe
    from sundog.runtime.container.root import Root

_NAME = "--force=fakeroot"
_UNAVAILABLE = f"{_NAME} not available (no suitable config found)"
_INSTEAD = "--force=seccomp, the default, needs nothing in the image"
_LIMIT = 1 << 16  # bytes of a release file that the patterns see


class Fakeroot:
    """The use of fakeroot in one stage; the stage's RUNs share it.

    ``tell_command`` is called with the new command of each RUN that gets one.
    """

    def __init__(self, report: Report, tell_command: Callable[[Sequence[str]], None]) -> None:
        self._report = report
        self._tell_command = tell_command
        self._recipe: Recipe | None = None
        self._is_ready = False
        self._is_used = False

    def command(
        self,
        argv: tuple[str, ...],
        scripts: Sequence[str],
        root: Root,
        run: Callable[[str], int],
    ) -> tuple[str, ...]:
        """Return ``argv``, with fakeroot before it if it needs that.

        Before the first such command, this prepares the image; ``run`` runs a shell's command
        there and returns its status.  ``scripts`` are the texts of the files that the command runs.
        ``root`` is a snapshot's root.  Raises BuildError if no recipe fits, or if one fails.
        """
        self._is_used = False
        texts = (*argv, *scripts)
        recipe = self._choose(texts, root)
        if recipe is None or not recipe.wants(texts):
            return argv
        if not self._is_ready:
            self._prepare(recipe, run)
            self._is_ready = True
        self._is_used = True
        command = ("fakeroot", *argv)
        self._tell_command(command)
        return command

    def hint(self) -> str:
        """Return a hint if the last command, which failed, may have needed fakeroot; else ""."""
        if self._is_used:
            return ""
        words = " ".join(self._recipe.words) if self._recipe else ""
        reason = f"it has none of the words {words}" if words else "no recipe fits the image"
        return f"it ran without fakeroot, because {reason}; {_INSTEAD}"

    def _choose(self, texts: Sequence[str], root: Root) -> Recipe | None:
        """Return the recipe for the image; None if there is none, and none seems to be needed."""
        if self._recipe is None:  # at first, or the image had no distribution so far
            self._recipe = fitting_recipe(root)
            if self._recipe is not None:
                self._report.info(f"{_NAME}: will use: {self._recipe.tag}: {self._recipe.name}")
        if self._recipe is None:
            if any(recipe.wants(texts) for recipe in RECIPES):
                known = " ".join(recipe.tag for recipe in RECIPES)
                raise BuildError(_UNAVAILABLE, f"it knows {known}; {_INSTEAD}")
            self._report.warning(f"{_UNAVAILABLE}: RUN runs without root emulation")
        return self._recipe

    def _prepare(self, recipe: Recipe, run: Callable[[str], int]) -> None:
        for number, step in enumerate(recipe.steps, 1):
            prefix = f"{_NAME}: init step {number}:"
            self._report.info(f"{prefix} checking: $ {step.check}")
            if run(step.check) == 0:
                self._report.info(f"{prefix} exit 0, step not needed")
                continue
            self._report.info(f"{prefix} $ {step.command}")
            if status := run(step.command):
                raise BuildError(
                    f"{prefix} failed with status {status}",
                    f"install fakeroot with a RUN of your own before this one; or {_INSTEAD}",
                )


def fitting_recipe(root: Root) -> Recipe | None:
    """Return the recipe for the image in ``root`` as it was before the step; None if none fits."""
    paths = sorted({recipe.path for recipe in RECIPES})

    def read(roots: list[int]) -> list[bytes]:
        return [account_file(roots[0], encoded(path), _LIMIT) for path in paths]

    texts = {
        path: decoded(data)
        for path, data in zip(paths, in_root([root.unchanged()], read), strict=True)
    }
    return next((recipe for recipe in RECIPES if recipe.fits(texts[recipe.path])), None)
