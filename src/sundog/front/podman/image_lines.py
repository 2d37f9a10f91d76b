"""Lines of ``sundog`` about images as lines of ``ch-image``.

``SUBCOMMANDS`` is the table: for each subcommand its options, its operands, the line of
``ch-image`` it stands for, and the function that translates.  A line of ``sundog`` may stand for
several lines of ``ch-image``; they are words without ``ch-image`` itself.
"""

from __future__ import annotations

import os

from sundog.errors import UsageError
from sundog.front.podman import image_options as options
from sundog.front.podman.run_line import image_operand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.front.options import Line, Option

    Words = list[str]
    Translate = Callable[[Line], list[Words]]

_DEFAULT_REGISTRY = "docker.io"
_STDIN = "-"
_PATTERN_CHARACTERS = frozenset("*?[")  # of ch-image; podman's rmi takes names only
# Names for Dockerfile, in podman's order.
_DOCKERFILES = ("Containerfile", "Dockerfile")
_SAVE_FORMATS = {"docker-archive": "docker-archive", "oci-archive": "oci-archive"}
_SAVE_FORMATS |= {"oci-dir": "oci-dir"}


class Subcommand:
    """A subcommand that stands for lines of ``ch-image``.

    ``counts`` are the fewest and the most operands that it takes; None stands for any number.
    """

    __slots__ = ("least", "most", "operands", "options", "stands_for", "summary", "translate")

    def __init__(
        self,
        summary: str,
        stands_for: str,
        options: Sequence[Option],
        operands: str,
        counts: tuple[int, int | None],
        *,
        translate: Translate,
    ) -> None:
        self.summary = summary
        self.stands_for = stands_for
        self.options = options
        self.operands = operands
        self.least, self.most = counts
        self.translate = translate

    def lines(self, name: str, line: Line) -> list[Words]:
        """Return the lines of ``ch-image`` that ``line`` stands for.  Raises UsageError."""
        count = len(line.operands)
        if count < self.least or (self.most is not None and count > self.most):
            missing = "an operand is missing" if count < self.least else "too many operands"
            raise UsageError(f"{name}: {missing}", f"sundog {name} {self.operands}")
        return self.translate(line)


def _one(word: str, *more: str) -> Translate:
    """Return the translation of a line without operands."""
    return lambda line: [[word, *more, *line.translated()]]


def _each(word: str) -> Translate:
    """Return the translation with one line for each IMAGE."""
    return lambda line: [
        [word, *line.translated(), "--", image_operand(name)] for name in line.operands
    ]


def _all(word: str) -> Translate:
    """Return the translation with one line for all operands, which are images."""
    return lambda line: [
        [word, *line.translated(), "--", *map(image_operand, line.operands)],
    ]


def _push(line: Line) -> list[Words]:
    if line.last("first") is not None and line.last("compression-format") != "estargz":
        raise UsageError(
            "--first: only eStargz has a mark for what comes first", "--compression-format=estargz"
        )
    return _all("push")(line)


def _build(line: Line) -> list[Words]:
    context = line.operands[0] if line.operands else "."
    words = ["build", *line.translated()]
    if len(line.all("file")) > 1:
        raise UsageError("--file: one Dockerfile at a time", "write their text into one file")
    file = line.last("file")
    if file is None and context != _STDIN:
        found = (name for name in _DOCKERFILES if os.path.exists(os.path.join(context, name)))
        first = next(found, None)
        file = None if first is None else os.path.join(context, first)
    elif file is not None and file != _STDIN and not os.path.exists(file):
        inside = os.path.join(context, file)  # podman looks there, too
        file = inside if os.path.exists(inside) else file
    if file is not None:
        words.append(f"--file={file}")
    return [[*words, "--", context]]


def _remove(line: Line) -> list[Words]:
    if line.is_set("all"):
        if line.operands:
            raise UsageError("rmi: --all and names of images", "leave out one of them")
        return [["delete", *line.translated(), "--", "*"]]
    if not line.operands:
        raise UsageError("rmi: no image", "sundog rmi IMAGE…, or sundog rmi --all")
    for name in line.operands:
        if not _PATTERN_CHARACTERS.isdisjoint(name):
            raise UsageError(f"rmi: not the name of an image: {name}", "ch-image delete 'PATTERN'")
    return [["delete", *line.translated(), "--", *map(image_operand, line.operands)]]


def _tag(line: Line) -> list[Words]:
    image, *names = line.operands
    return [["tag", "--", image_operand(image), name] for name in names]


def _remote(line: Line) -> list[Words]:
    name = image_operand(line.operands[0])
    return [["inspect", "--remote", *line.translated(), "--", name]]


def _save(line: Line) -> list[Words]:
    kind = line.last("format") or "docker-archive"
    if kind not in _SAVE_FORMATS:
        raise UsageError(f"--format {kind}: no such format", f"one of: {', '.join(_SAVE_FORMATS)}")
    names = map(image_operand, line.operands)
    return [["save", *line.translated(), f"--format={kind}", "--", *names]]


def _load(line: Line) -> list[Words]:
    return [["load", *line.translated(), "--", line.last("input") or _STDIN]]


def _import(line: Line) -> list[Words]:
    path, *name = line.operands
    if "://" in path:
        raise UsageError(f"import: {path}: a URL", "fetch it first, and give the file")
    if not name:
        base = os.path.basename(path).partition(".")[0].lower()
        name = [base]
    source = "/dev/stdin" if path == _STDIN else path
    return [["import", *line.translated(), "--", source, *name]]


def _registry(word: str) -> Translate:
    """Return the translation with one operand, a registry; Docker Hub by default."""
    return lambda line: [
        [word, *line.translated(), "--", *(line.operands or [_DEFAULT_REGISTRY])],
    ]


def _manifest(word: str) -> Translate:
    """Return the translation of a word of ``manifest``."""
    return lambda line: [["manifest", word, *line.translated(), "--", *line.operands]]


# In the order of the help.
SUBCOMMANDS = {
    "build": Subcommand("build an image from a Dockerfile", "ch-image build -t NAME CONTEXT",
                        options.BUILD, "[CONTEXT]", (0, 1), translate=_build),
    "pull": Subcommand("fetch images from a registry", "ch-image pull IMAGE",
                       options.PULL, "IMAGE…", (1, None), translate=_each("pull")),
    "push": Subcommand("copy an image to a registry", "ch-image push IMAGE [DEST]",
                       options.PUSH, "IMAGE [DEST]", (1, 2), translate=_push),
    "rmi": Subcommand("delete images", "ch-image delete IMAGE…",
                      options.REMOVE, "IMAGE…", (0, None), translate=_remove),
    "tag": Subcommand("give an image another name", "ch-image tag IMAGE NAME",
                      options.PLAIN, "IMAGE NAME…", (2, None), translate=_tag),
    "history": Subcommand("tell how an image came about", "ch-image history IMAGE",
                          options.HISTORY, "IMAGE", (1, 1), translate=_each("history")),
    "imagetools inspect": Subcommand(
        "print the manifest or the index that a registry has", "ch-image inspect --remote IMAGE",
        options.IMAGETOOLS, "IMAGE", (1, 1), translate=_remote),
    **{
        f"manifest {word}": Subcommand(summary, f"ch-image manifest {word} {operands}",
                                       options.MANIFEST[word], operands, count,
                                       translate=_manifest(word))
        for word, summary, operands, count in (
            ("create", "make a list of images for several platforms", "LIST [IMAGE…]", (1, None)),
            ("add", "add images to a list", "LIST IMAGE…", (2, None)),
            ("annotate", "change what a list says of an image", "LIST IMAGE", (2, 2)),
            ("rm", "delete lists", "LIST…", (1, None)),
            ("push", "copy a list to a registry, as an index", "LIST [DEST]", (1, 2)),
            ("inspect", "print a list, or the index of a registry", "LIST", (1, 1)),
        )
    },
    "save": Subcommand("write images to an archive",
                       "ch-image save --format docker-archive IMAGE…",
                       options.SAVE, "IMAGE…", (1, None), translate=_save),
    "load": Subcommand("take images out of an archive", "ch-image load FILE",
                       options.LOAD, "", (0, 0), translate=_load),
    "import": Subcommand("make an image of a tar of a root file system",
                         "ch-image import FILE NAME",
                         options.IMPORT, "FILE [NAME]", (1, 2), translate=_import),
    "login": Subcommand("log in to a registry", "ch-image login HOST",
                        options.LOGIN, "[HOST]", (0, 1), translate=_registry("login")),
    "logout": Subcommand("forget the login to a registry", "ch-image logout HOST",
                         options.LOGOUT, "[HOST]", (0, 1), translate=_registry("logout")),
    "system df": Subcommand("tell what needs space in storage", "ch-image usage",
                            options.DISK_USE, "", (0, 0), translate=_one("usage")),
}  # fmt: skip
