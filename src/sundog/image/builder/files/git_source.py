"""ADD of a git repository: the host's git checks a commit out.

Specification: the Dockerfile reference, “Adding files from a Git repository”, and Docker's
documentation, “Git repositories”, for the fragment ``#REF:SUBDIR`` and the queries ``ref``,
``branch``, ``tag``, ``subdir``, ``checksum`` (or ``commit``), ``keep-git-dir``, ``submodules``.

git runs in an environment of its own.  It has no configuration of the user or the system, no prompt
and no hook.  It uses no protocol that reads files or runs commands of this machine.
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from resource import RLIM_INFINITY, RLIMIT_FSIZE, getrlimit, setrlimit
from signal import SIGXFSZ
from urllib.parse import parse_qs, urlsplit, urlunsplit

from sundog.base.kernel.files import Closing
from sundog.base.kernel.process import Umask
from sundog.errors import AddressError, ArchiveError, BuildError
from sundog.image.builder.files.sources import SourceTree
from sundog.image.builder.keys import FILES, Part
from sundog.image.builder.tree_step import decoded, without_user
from sundog.image.dockerfile.ignore import PathPatterns
from sundog.image.dockerfile.wildcard import literal_pattern
from sundog.image.layer.limits import NO_LIMITS_HINT, Meter, limits_in_force
from sundog.image.registry.address import Address
from sundog.image.registry.configured import authorities_for_git
from sundog.runtime.process.watch import PERIOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.image.builder.files.copy import Site
    from sundog.image.builder.files.remote_access import RemoteAccess
    from sundog.image.builder.keys import Field
    from sundog.image.builder.report import Report
    from sundog.image.store.store import Store

_SCP_FORM = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9_.][A-Za-z0-9_.-]*:[^:].*")
_FULL_COMMIT = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ABBREVIATED = re.compile("[0-9a-f]{4,63}")
_SWITCHES = {"": True, "1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
_UMASK = 0o022
_TOO_LARGE = b"signal %d" % signal.SIGXFSZ  # how a part of git died that wrote too much
# The variables of this process that git needs.
_KEPT = ("PATH", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR", "LD_LIBRARY_PATH")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_OUTPUT_LIMIT = 64 << 20  # bytes of git's output and of its messages that are read
_SETTINGS = (
    "protocol.allow=never",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "protocol.git.allow=always",
    "core.hooksPath=/dev/null",
    "init.defaultBranch=main",
    "advice.detachedHead=false",
    "gc.auto=0",
)


@dataclass(frozen=True, slots=True)
class GitReference:
    """A repository, and the part of it to take; None for what the source does not say."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True

    @classmethod
    def parse(cls, source: str) -> GitReference | None:
        """Parse a source of ADD; return None if it is not a repository.  Raises BuildError."""
        address, _, fragment = source.partition("#")
        query: dict[str, list[str]] = {}
        if address.startswith(("http://", "https://", "git://", "ssh://")):
            _check(address)
            parts = urlsplit(address)
            if parts.scheme in ("http", "https") and not parts.path.endswith(".git"):
                return None
            query = parse_qs(parts.query, keep_blank_values=True)
            address = urlunsplit(parts._replace(query=""))
        elif not _SCP_FORM.fullmatch(address) or source.startswith(("./", "../")):
            return None
        ref, _, subdir = fragment.partition(":")
        return _with_query(cls(address, ref, subdir), query)


def _check(address: str) -> None:
    """Raise BuildError if git or Sundog can't read a URL, or if they read it differently."""
    shown = without_user(address)
    try:
        host = Address.parse(f"http://{shown.partition('://')[2]}").host
    except AddressError as error:
        raise BuildError(f"not a URL: {ascii(shown)[1:-1]}", error.hint) from error
    if host.startswith("-") or not address.isprintable():
        raise BuildError(f"not a URL: {ascii(shown)[1:-1]}")


def _with_query(reference: GitReference, query: Mapping[str, list[str]]) -> GitReference:
    """Add the query of the URL; raise BuildError if it contradicts the fragment."""
    given = {"ref": reference.ref, "subdir": reference.subdir, "checksum": ""}
    switches: dict[str, bool | None] = {"keep-git-dir": None, "submodules": True}
    for name, values in query.items():
        if len(values) > 1:
            raise BuildError(f"git: query {name} has several values")
        value = values[0]
        if name in switches:
            if value.lower() not in _SWITCHES:
                raise BuildError(f"git: query {name} is not true or false: {value}")
            switches[name] = _SWITCHES[value.lower()]
            continue
        key, prefix = {
            "ref": ("ref", ""),
            "tag": ("ref", "refs/tags/"),
            "branch": ("ref", "refs/heads/"),
            "subdir": ("subdir", ""),
            "checksum": ("checksum", ""),
            "commit": ("checksum", ""),
        }.get(name, ("", ""))
        if not key:
            raise BuildError(
                f"git: unknown query {name}",
                "known: ref, tag, branch, commit, subdir, keep-git-dir, submodules",
            )
        if not value:
            raise BuildError(f"git: query {name} has no value")
        value = prefix + value.removeprefix(prefix)
        if given[key] not in ("", value):
            raise BuildError(f"git: {key} is given twice: {given[key]} and {value}")
        given[key] = value
    return GitReference(
        reference.remote,
        given["ref"] or given["checksum"],
        given["subdir"],
        given["checksum"],
        switches["keep-git-dir"],
        submodules=bool(switches["submodules"]),
    )


@dataclass
class GitFiles:
    """The files of a commit; ``access`` has the secrets for the server."""

    reference: GitReference
    keep_git_dir: bool
    access: RemoteAccess
    store: Store
    report: Report
    _commit: str = field(default="", init=False)
    _repository: bytes = field(default=b"", init=False)
    _trusted: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for word in (self.reference.ref, self.reference.subdir):
            if word.startswith("-") or "\0" in word:
                raise BuildError(f"git: not a name: {word!r}")

    def fingerprint(self) -> Field:
        """Return the commit; ask the repository for it, unless it is named in full."""
        reference = self.reference
        if not self._commit:
            self._commit = self._resolve()
        return (
            "git",
            reference.remote,
            Part(FILES, "the git repository", self._commit),
            reference.subdir,
            self.keep_git_dir,
            reference.submodules,
        )

    def prepare(self) -> None:
        """Check out the commit."""
        if not self._commit:
            self._commit = self._resolve()
        if not self._has(self._commit):
            self._fetch(self._commit)
        self._check_size()
        with Umask(_UMASK):
            self._git("checkout", "-q", "--force", "--detach", self._commit)
            if self.reference.submodules and self._has_submodules():
                update = ("submodule", "-q", "update", "--init", "--recursive")
                if not self._succeeds(*update, "--depth=1"):  # not every server supports that
                    self._git(*update)

    def checkout(self) -> bytes:
        """Check out the commit; return the directory of the repository."""
        self.prepare()
        return self._repository

    def place(self, site: Site) -> None:
        """Copy the files of the commit, or of one directory of it."""
        with Closing(os.open(self._repository, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            ignored = None if self.keep_git_dir else PathPatterns(["**/.git"])
            tree = SourceTree.of_context(fd, ignored)
            found = tree.find([literal_pattern(self.reference.subdir)])
            if not tree.is_directory(found[0]):
                raise BuildError(f"git: not a directory: {self.reference.subdir}")
            site.put(tree, found)

    def _resolve(self) -> str:
        """Return the commit to take; raise BuildError if there is none."""
        ref = self.reference.ref or "HEAD"
        commit = ref if _FULL_COMMIT.fullmatch(ref) else self._advertised(ref)
        if not commit and _ABBREVIATED.fullmatch(ref):
            self._fetch("")
            commit = self._git("rev-parse", f"{ref}^{{commit}}") if self._has(ref) else ""
        if not commit:
            raise BuildError(
                f"git: no such branch, tag or commit: {ref}", without_user(self.reference.remote)
            )
        if not commit.startswith(self.reference.checksum):
            raise BuildError(
                f"git: {ref} is commit {commit}, not {self.reference.checksum}",
                "the repository is not the one that the Dockerfile's author had",
            )
        return commit

    def _advertised(self, ref: str) -> str:
        """Return the commit of a branch, a tag or another ref of the repository; "" for none."""
        lines = self._git("ls-remote", "origin", ref, f"{ref}^{{}}")
        commits = {}
        for line in lines.splitlines():
            commit, _, name = line.partition("\t")
            commits[name] = commit
        short = ref.removeprefix("refs/")
        for name in (
            f"refs/heads/{short}",
            f"refs/tags/{short}^{{}}",
            f"refs/tags/{short}",
            f"refs/{short}^{{}}",
            f"refs/{short}",
            ref,
        ):
            if name in commits:
                return commits[name]
        return ""

    def _fetch(self, commit: str) -> None:
        """Fetch one commit if the server allows that, else everything."""
        if commit:
            name = self.reference.ref
            for wanted in dict.fromkeys((commit, name or "HEAD")):
                fetch = ("fetch", "-q", "--depth=1", "--no-tags", "origin", wanted)
                if self._succeeds(*fetch) and self._has(commit):
                    return
        self._git("fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
        if commit and not self._has(commit):
            self._git("fetch", "-q", "origin", commit)

    def _check_size(self) -> None:
        """Raise BuildError if the commit is beyond the limits of archives.

        A few trees that name each other many times stand for any number of files.
        """
        meter = Meter(counts_input=False)
        meter.fetched(self._size_of_packs())
        listing = subprocess.Popen(
            ["git", "ls-tree", "-r", "-t", "-l", self._commit],
            cwd=self._repository,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert listing.stdout is not None
        try:
            for line in listing.stdout:
                about, _, name = line.partition(b"\t")
                size = about.split()[-1]
                meter.entry(len(name))
                meter.unpacked(int(size) if size.isdigit() else 0)
            meter.complete()
        except ArchiveError as error:
            raise BuildError(f"git: commit {self._commit}: {error.message}", error.hint) from error
        finally:
            os.killpg(listing.pid, signal.SIGKILL)  # a signal to this process leaves it at work
            listing.stdout.close()
            listing.wait()

    def _has(self, commit: str) -> bool:
        return self._succeeds("cat-file", "-e", f"{commit}^{{commit}}")

    def _has_submodules(self) -> bool:
        return os.path.lexists(os.path.join(self._repository, b".gitmodules"))

    def _git(self, *arguments: str) -> str:
        """Run git and return its output; raise BuildError if it fails."""
        done = self._run(*arguments)
        # The kernel's signal for a file at its limit ends git's main process without a message.
        if done.returncode == -SIGXFSZ or (done.returncode and _TOO_LARGE in done.stderr):
            raise BuildError(
                f"git: a file of the repository has more than {limits_in_force().free:,} bytes",
                NO_LIMITS_HINT,
            )
        if done.returncode:
            raise BuildError(
                f"git {arguments[0]} failed: {_reason(done.stderr)}",
                without_user(self.reference.remote),
            )
        return decoded(done.stdout).strip()

    def _succeeds(self, *arguments: str) -> bool:
        return self._run(*arguments).returncode == 0

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run git in the repository; make the repository first."""
        if not self._repository:
            with self.store.faults:
                self._repository = self.store.scratch.new()
                os.chmod(self._repository, 0o755)
                beside = self.store.scratch.new()
                self._trusted = authorities_for_git(os.environ, beside)
            self._git("init", "-q")
            self._git("remote", "add", "origin", self.reference.remote)
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        self.report.verbose(f"git {' '.join(map(without_user, arguments))}")
        try:
            # Files, because a server may send messages without end: ``_limit_files`` ends them.
            with (
                tempfile.TemporaryFile(dir=self._repository) as output,
                tempfile.TemporaryFile(dir=self._repository) as errors,
            ):
                running = subprocess.Popen(
                    ["git", *settings, *arguments],
                    cwd=self._repository,
                    env=_environment(os.environ)
                    | self._trusted
                    | self.access.git_environment(self.reference.remote),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    preexec_fn=_limit_files,  # noqa: PLW1509 - it calls nothing that takes locks
                    start_new_session=True,
                )
                with running:
                    try:
                        status = self._end(running, arguments[0])
                    except BaseException:
                        os.killpg(running.pid, signal.SIGKILL)  # git's helpers, too
                        raise
                output.seek(0)
                errors.seek(0)
                return subprocess.CompletedProcess(
                    arguments, status, output.read(_OUTPUT_LIMIT), errors.read(_OUTPUT_LIMIT)
                )
        except FileNotFoundError as error:
            raise BuildError("git is not installed here", "ADD of a repository needs it") from error

    def _end(self, running: subprocess.Popen[bytes], command: str) -> int:
        """Wait for git and return its status; report how much a fetch has written."""
        if command != "fetch":
            return running.wait()
        moved = 0
        remote = without_user(self.reference.remote)
        transfer = self.report.quiet_transfer(remote, "fetching", None)
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return running.wait(PERIOD)
                size = self._size_of_packs()
                transfer.advance(max(0, size - moved))
                moved = max(moved, size)
        finally:
            transfer.end()

    def _size_of_packs(self) -> int:
        """Return the bytes of what was fetched; git may be renaming the files."""
        size = 0
        with os.scandir(os.path.join(self._repository, b".git/objects/pack")) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    size += entry.stat(follow_symlinks=False).st_size
        return size


def _limit_files() -> None:
    """Limit the size of each file, such as a pack that a server sends without end."""
    limit = limits_in_force().free
    if not math.isinf(limit):
        _, most = getrlimit(RLIMIT_FSIZE)
        limit = int(limit) if most == RLIM_INFINITY else min(int(limit), most)
        setrlimit(RLIMIT_FSIZE, (limit, most))


def _reason(stderr: bytes) -> str:
    """Return the most informative line of git's output."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines() or [""]
    told = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    return (told or lines[-1:])[0].partition(": ")[2] or lines[-1]


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environment[name] for name in _KEPT if name in environment}
    for name in _PROXIES:
        kept |= {
            spelling: environment[spelling]
            for spelling in (name, name.upper())
            if spelling in environment
        }
    return kept | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": "/nonexistent",
        "LC_ALL": "C",
    }
