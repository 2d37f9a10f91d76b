"""Certificates per registry: authorities to trust beside the system's, and client certificates.

Specification: containers-certs.d(5).  Only the first directory ``certs.d/HOST[:PORT]`` counts that
exists in the user's configuration, ``/etc/containers`` or ``/etc/docker``.  In it, ``*.crt`` are
authorities, and ``NAME.cert`` with ``NAME.key`` is a certificate of the client.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sundog.errors import CertificateError
from sundog.image.registry.user_files import containers_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_NAME = "certs.d"
_SYSTEM = ("/etc/containers", "/etc/docker")
_MANUAL = "see containers-certs.d(5): an authority is NAME.crt; yours is NAME.cert and NAME.key"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files for one registry: authorities, and client certificates with their keys."""

    authorities: tuple[str, ...] = ()
    clients: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, host: str, environment: Mapping[str, str]) -> Certificates:
        """Return the files for ``host[:port]``; raise CertificateError."""
        for place in (containers_directory(environment), *_SYSTEM):
            directory = os.path.join(place, _NAME, host)
            try:
                names = sorted(os.listdir(directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unusable(directory, error) from error
            paths = [os.path.join(directory, name) for name in names]
            return cls(
                tuple(path for path in paths if path.endswith(".crt")),
                tuple(_pair(path, paths) for path in paths if path.endswith(".cert")),
            )
        return cls()

    def load(self, context: ssl.SSLContext) -> None:
        """Let ``context`` trust the authorities and show the client certificates.

        Raises CertificateError.
        """
        for path in self.authorities:
            try:
                context.load_verify_locations(cafile=path)
            except OSError as error:  # ssl.SSLError is one
                raise _unusable(path, error) from error
        for certificate, key in self.clients:
            try:
                # So a key with a passphrase fails; else OpenSSL would ask on the terminal.
                context.load_cert_chain(certificate, key, password="")
            except OSError as error:
                named = error.filename or f"{certificate} and {os.path.basename(key)}"
                raise _unusable(str(named), error) from error


def _pair(certificate: str, paths: list[str]) -> tuple[str, str]:
    key = certificate.removesuffix(".cert") + ".key"
    if key not in paths:
        raise CertificateError(f"no key for client certificate {certificate}", _MANUAL)
    return certificate, key


def _unusable(path: str, error: OSError) -> CertificateError:
    import ssl  # a transport without TLS does without

    why = error.strerror or str(error)
    if isinstance(error, ssl.SSLError):
        why = (error.reason or "not in PEM format").lower().replace("_", " ")
    return CertificateError(f"can't use {path}: {why}", _MANUAL)
