"""Build contexts from elsewhere: a git repository, or the file at a URL.

Specification: Docker's documentation, “Build context”, “Git repositories” and “Remote tarballs”;
BuildKit where it leaves room.  A file that is no tar archive is a Dockerfile without a context.  As
an archive, a repository has no ignore file.  Its ``.git`` stays out of the context, unless
``--build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1`` asks for it.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass

from sundog.base.kernel.files import Closing
from sundog.errors import BuildError, KernelError
from sundog.image.builder.document import read_open_document
from sundog.image.builder.files.archive import is_archive
from sundog.image.builder.files.context import BuildContext, unpacked_context
from sundog.image.builder.files.download import RemoteFile
from sundog.image.builder.files.git_source import GitFiles, GitReference
from sundog.image.builder.files.sources import SourceTree
from sundog.image.builder.tree_step import encoded, without_user
from sundog.image.dockerfile.parse import SIZE_LIMIT
from sundog.image.layer.limits import limits_in_force
from sundog.image.layer.remove import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.builder.files.remote_access import RemoteAccess
    from sundog.image.builder.report import Report
    from sundog.image.store.store import Store

KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
_TRUE = ("1", "t", "true")
_GITHUB = "github.com/"
_ARCHIVE = ".tar"
_GIT_DIRECTORY = b".git"


@dataclass(frozen=True, slots=True)
class RemoteContext:
    """The contents of an address: a context, or None and the text of a Dockerfile.

    ``name`` is the last part of the address, as a directory's name is of its path.
    """

    context: BuildContext | None
    text: bytes
    name: str


def is_remote(source: str) -> bool:
    """Tell whether the user means a place elsewhere, and not a directory or a file here."""
    if source.startswith(("http://", "https://")):
        return True
    if os.path.exists(source):
        return False
    if "://" in source or source.startswith(_GITHUB):
        return True
    return "@" in source and GitReference.parse(source) is not None


@dataclass(frozen=True, slots=True)
class RemoteContexts:
    """Fetches contexts into a store; ``access`` has the secrets for servers.

    What was fetched stays in the store until the store is closed.
    """

    store: Store
    access: RemoteAccess
    report: Report
    keeps_git: bool

    @classmethod
    def make(
        cls, store: Store, access: RemoteAccess, report: Report, build_args: Mapping[str, str]
    ) -> RemoteContexts:
        """Make one for a build with these ``--build-arg``."""
        keeps_git = build_args.get(KEEP_GIT_DIR, "").lower() in _TRUE
        return cls(store, access, report, keeps_git)

    def fetch(self, source: str, option: str) -> RemoteContext:
        """Fetch the context at ``source``; raise BuildError or ArchiveError.

        ``option`` is for messages.
        """
        reference = GitReference.parse(_with_scheme(source))
        if reference is not None:
            return self._clone(reference, option)
        if not source.startswith(("http://", "https://")):
            raise BuildError(
                f"{option}: not a URL for a context: {without_user(source)}",
                "use https://, or the address of a git repository",
            )
        return self._download(source, option)

    def _clone(self, reference: GitReference, option: str) -> RemoteContext:
        keeps_git = self.keeps_git if reference.keep_git_dir is None else reference.keep_git_dir
        files = GitFiles(reference, keeps_git, self.access, self.store, self.report)
        repository = files.checkout()
        if not keeps_git:
            _remove_history(repository)
        subdir = encoded(reference.subdir).strip(b"/")
        with Closing(os.open(repository, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            tree = SourceTree.of_context(fd)  # a symlink of the repository must not lead out of it
            try:
                found = tree.open(subdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except KernelError as error:
                raise BuildError(
                    f"git: not a directory: {reference.subdir}", without_user(reference.remote)
                ) from error
            with Closing(found):
                place = os.path.join(repository, tree.canonical(found))
        name = posixpath.basename(reference.subdir.rstrip("/"))
        name = name or _last_part(reference.remote).removesuffix(".git")
        context = BuildContext(os.fsdecode(place), is_archive=True, option=option)
        return RemoteContext(context, b"", name)

    def _download(self, url: str, option: str) -> RemoteContext:
        limit = limits_in_force().free
        file = RemoteFile(url, "", False, self.access, self.store, self.report, limit)
        path = file.fetched()
        name = _last_part(file.name).partition(_ARCHIVE)[0]
        with Closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            if not is_archive(fd):
                text = read_open_document(os.dup(fd), file.shown, SIZE_LIMIT)
                return RemoteContext(None, text, name)
            with open(os.dup(fd), "rb", buffering=0) as stream:
                context = unpacked_context(self.store, stream, f"{option} {file.shown}")
        os.unlink(path)
        return RemoteContext(context, b"", name)


def _with_scheme(source: str) -> str:
    """Return ``https://github.com/USER/REPOSITORY.git`` for ``github.com/USER/REPOSITORY``."""
    if not source.startswith(_GITHUB):
        return source
    address, hash_sign, fragment = source.partition("#")
    return f"https://{address.removesuffix('.git')}.git{hash_sign}{fragment}"


def _last_part(address: str) -> str:
    return posixpath.basename(address.rstrip("/").replace(":", "/"))


def _remove_history(repository: bytes) -> None:
    """Remove the entries ``.git`` of a repository and of its submodules."""
    for directory, directories, files in os.walk(repository):
        if _GIT_DIRECTORY in files:
            os.unlink(os.path.join(directory, _GIT_DIRECTORY))
        if _GIT_DIRECTORY in directories:
            directories.remove(_GIT_DIRECTORY)
            with Closing(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
                remove_tree(_GIT_DIRECTORY, dir_fd=fd)
