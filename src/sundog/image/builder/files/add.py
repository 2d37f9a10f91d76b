"""COPY and ADD as steps: the kind of each source, and the meaning of the flags.

Specification: the Dockerfile reference, COPY and ADD.  The caller has resolved ``--from`` before.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from sundog.errors import BuildError
from sundog.image.builder.files.archive import ContextArchives
from sundog.image.builder.files.chmod import ModeChange
from sundog.image.builder.files.chown import OwnerText
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.files.copy import ContextFiles, CopyStep, Documents, ImageFiles
from sundog.image.builder.tree_step import without_user
from sundog.image.dockerfile.instructions import Add, Copy

_URLS = ("http://", "https://")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sundog.errors import DockerfileError, SundogError
    from sundog.image.builder.files.copy import Origin
    from sundog.image.builder.files.git_source import GitReference
    from sundog.image.builder.files.remote_access import RemoteAccess
    from sundog.image.builder.report import Report
    from sundog.image.store.store import Store

    Files = BuildContext | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FilesStepMaker:
    """The parts that steps are made from: ``files`` is a context, or the layers of an image.

    ``access`` is for servers that want authentication.
    """

    files: Files
    access: RemoteAccess
    store: Store
    report: Report
    located: Callable[[SundogError], DockerfileError]

    def step(self, instruction: Copy | Add, destination: str) -> CopyStep:
        """Return the step of an instruction after substitution; ``destination`` is absolute.

        Raises DockerfileError for an invalid value of a flag, or for one that the source forbids.
        """
        try:
            return CopyStep(
                files_text(instruction),
                tuple(self._origins(instruction)),
                destination,
                posixpath.basename(instruction.destination) in ("", ".", ".."),
                _owner(instruction),
                ModeChange.parse(instruction.chmod) if instruction.chmod else None,
                instruction.link,
                self.store,
                self.located,
            )
        except BuildError as error:
            raise self.located(error) from error

    def _origins(self, instruction: Copy | Add) -> Iterator[Origin]:
        """Yield the origins of the files, in order; adjacent files of one kind share an origin."""
        local: list[str] = []
        for source in instruction.sources:
            remote = self._remote(instruction, source)
            if remote is None:
                local.append(source)
                continue
            if local:
                yield self._local(instruction, local)
                local = []
            yield remote
        if isinstance(instruction, Add) and instruction.checksum:
            _check_checksum(instruction, bool(local))
        if local:
            yield self._local(instruction, local)
        if instruction.heredocs:
            yield Documents(tuple((heredoc.name, heredoc.body) for heredoc in instruction.heredocs))

    def _local(self, instruction: Copy | Add, sources: list[str]) -> Origin:
        parents = isinstance(instruction, Copy) and instruction.parents
        excludes = instruction.excludes
        if not isinstance(self.files, BuildContext):
            return ImageFiles(self.files, self.store, tuple(sources), excludes, parents)
        files = ContextFiles(self.files, tuple(sources), self.report, excludes, parents)
        if isinstance(instruction, Add) and instruction.unpack is not False:
            return ContextArchives(files)
        return files

    def _remote(self, instruction: Copy | Add, source: str) -> Origin | None:
        """Return the origin of a source that is not a path; None for a path."""
        if "://" not in source and "@" not in source:
            return None
        from sundog.image.builder.files.git_source import GitFiles, GitReference

        repository = GitReference.parse(source)
        if repository is None and not source.startswith(_URLS):
            return None
        if isinstance(instruction, Copy):
            what = "a URL" if repository is None else "a git repository"
            raise BuildError(f"COPY takes no source that is {what}: {source}", "use ADD")
        if repository is None:
            from sundog.image.builder.files.download import RemoteFile

            unpack = instruction.unpack is True
            return RemoteFile(
                source, instruction.checksum, unpack, self.access, self.store, self.report
            )
        repository, keep_git_dir = _with_flags(instruction, repository)
        return GitFiles(repository, keep_git_dir, self.access, self.store, self.report)


def files_text(instruction: Copy | Add) -> str:
    """Return the text of COPY and ADD for the output and the history."""
    flags = {
        "from": instruction.from_ if isinstance(instruction, Copy) else "",
        "chown": instruction.chown,
        "chmod": instruction.chmod,
    }
    words = [instruction.name, *(f"--{name}={value}" for name, value in flags.items() if value)]
    heredocs = (f"<<{heredoc.name}" for heredoc in instruction.heredocs)
    sources = [*(without_user(source) for source in instruction.sources), *heredocs]
    return f"{' '.join(words)} {sources!r} -> {instruction.destination!r}"


def _owner(instruction: Copy | Add) -> OwnerText | None:
    if not instruction.chown:
        return None
    owner = OwnerText.parse(instruction.chown)
    if instruction.link and not owner.is_numeric:
        raise BuildError(
            f"--link does not read the image, so it can't look up {instruction.chown}",
            "give numbers to --chown",
        )
    return owner


def _check_checksum(instruction: Add, has_local: bool) -> None:
    if len(instruction.sources) + len(instruction.heredocs) != 1:
        raise BuildError("--checksum takes only one source", "use an ADD for each")
    if has_local:
        raise BuildError("--checksum is for a URL or a git repository")


def _with_flags(instruction: Add, repository: GitReference) -> tuple[GitReference, bool]:
    """Combine the flags and the source's own text into what to take of a repository."""
    if instruction.checksum:
        if repository.checksum not in ("", instruction.checksum):
            raise BuildError(
                f"--checksum={instruction.checksum} contradicts {repository.checksum} in the source"
            )
        ref = repository.ref or instruction.checksum
        repository = replace(repository, ref=ref, checksum=instruction.checksum)
    keep = repository.keep_git_dir
    if keep is False and instruction.keep_git_dir:
        raise BuildError("--keep-git-dir contradicts the source")
    return repository, bool(keep or instruction.keep_git_dir)
