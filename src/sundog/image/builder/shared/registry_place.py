"""A repository of a registry with entries of a shared build cache: each is a tag.

Specification: OCI distribution-spec v1.1.  Nothing is read, changed and written back: the layer
comes first, then the configuration, and the manifest under its tag is the last request.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

from sundog.errors import NotInRegistryError, UsageError
from sundog.image.builder.shared.entry import (
    CONFIG_LIMIT,
    EMPTY_BLOB,
    EMPTY_LAYER,
    entry_documents,
    read_entry,
    read_manifest,
)
from sundog.image.builder.shared.place import Found
from sundog.image.oci.reference import Reference
from sundog.image.registry.auth import push_scope
from sundog.image.registry.push import Pushing
from sundog.image.transfer.layers import RemoteLayer
from sundog.image.transfer.packing import Packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sundog.image.builder.report import Report
    from sundog.image.builder.shared.entry import Result
    from sundog.image.builder.shared.place import PlaceText
    from sundog.image.registry.session import Session
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Transfer


class QuietReport:
    """The messages of a transfer, as details of a build."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def info(self, text: str) -> None:
        """Show ``text`` at -v."""
        self._report.verbose(text)

    def verbose(self, text: str) -> None:
        """Show ``text`` at -v."""
        self._report.verbose(text)

    def warning(self, text: str) -> None:
        """Warn."""
        self._report.warning(text)

    def transfer(self, label: str, verb: str, total: int) -> Transfer:
        """Show on a terminal that a blob begins to move."""
        return self._report.quiet_transfer(label, verb, total)

    def watched(self, text: str, total: int | None = None) -> AbstractContextManager[None]:  # noqa: ARG002
        """Show nothing: packing is a part of the step."""
        return nullcontext()


class RegistryPlace:
    """A repository; ``text`` has its name, and how layers get there."""

    def __init__(self, text: PlaceText, session: Session, report: Report) -> None:
        reference = Reference.parse(text.where)
        if reference.digest is not None:
            raise UsageError(f"{text.option}: a digest: {text.where}", "give a repository")
        if ":" in text.where.rpartition("/")[2]:
            report.info(
                f"{text.option}: the tag {reference.tag} is not used: each step has its own"
            )
        self._endpoint = session.registries.remotes(text.where)[0].endpoints[-1]
        self._session = session
        self._report = QuietReport(report)
        self._packing = Packing(text.compression)
        self._absent: set[str] = set()

    @property
    def name(self) -> str:
        """The repository."""
        return str(self._endpoint)

    def find(self, key: str) -> Found | None:
        """Return the entry with this tag; see ``Place``."""
        client = self._session.client(self._endpoint)
        try:
            document = client.get_manifest(key, index=False)
        except NotInRegistryError:
            self._absent.add(key)
            return None
        manifest = read_manifest(key, document.content, document.media_type)
        entry = read_entry(key, manifest, client.get_blob(manifest.config, CONFIG_LIMIT))
        if entry.layer is None:
            return Found(entry, None)
        layer = RemoteLayer(
            entry.layer,
            entry.diff_id,
            [partial(client.open_blob, entry.layer.digest)],
            self.name,
            entry.text,
            entry.guessed,
        )
        return Found(entry, layer)

    def write(self, store: Store, result: Result, *, replaces: bool) -> None:
        """Push the entry; see ``Place``."""
        if not replaces and not self._is_absent(result.key):
            return
        client = self._session.client(self._endpoint, (push_scope(self._endpoint.repository),))
        pushing = Pushing(store, self._session, client, self._packing, self._report)
        blob, guessed = EMPTY_BLOB, False
        if result.layer is None:
            pushing.content(EMPTY_LAYER, blob)
        else:
            (blob,) = pushing.layers([result.layer])
            guessed = store.layers.info(result.layer).guessed
        pushing.documents(entry_documents(result, blob, guessed=guessed), result.key)
        self._absent.discard(result.key)

    def _is_absent(self, key: str) -> bool:
        if key not in self._absent:
            try:
                self._session.client(self._endpoint).head_manifest(key)
            except NotInRegistryError:
                return True
            return False
        return True
