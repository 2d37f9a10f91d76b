"""Image names: the canonical form of what a user types, and the directory that holds the image.

Specification: the grammar and the normalisation of the distribution project's package ``reference``
(https://pkg.go.dev/github.com/distribution/reference): ``alpine`` is
``docker.io/library/alpine:latest``.  The parser is written by hand, because ``ch-run`` resolves
names at start-up and cannot afford ``re``.
"""

from __future__ import annotations

from sundog.errors import ReferenceSyntaxError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

PLATFORMS = b"platforms"  # a directory of notes by images' names, see ``stored_entry``
_LEGACY_REGISTRY = "index.docker.io"
OFFICIAL_PREFIX = "library/"
_NAME_LIMIT = 255  # NAME_MAX: an image is a directory in the store
_TAG_LIMIT = 128
_REFERENCE_HINT = (
    "a reference is [HOST[:PORT]/][PATH/]NAME[:TAG][@DIGEST], with PATH and NAME in lower case"
)

_HEX_DIGITS = frozenset("0123456789abcdef")
_LOWER_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER_ALNUM | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TAG_START = _ALNUM | {"_"}
_TAG_REST = _TAG_START | {".", "-"}
_PATH_SEPARATORS = (".", "_", "__")  # or any number of "-"
_DIGEST_SIZES = {"sha256": 64, "sha384": 96, "sha512": 128}


def canonical_name(text: str) -> str:
    """Return the full name of the image that ``text`` names.

    The result is ``REGISTRY/REPOSITORY:TAG``, ``REGISTRY/REPOSITORY@DIGEST`` or both.  Raises
    ReferenceSyntaxError.
    """
    registry, repository, tag, digest = split_reference(text)
    name = f"{registry}/{repository}"
    if tag:
        name += f":{tag}"
    if digest:
        name += f"@{digest}"
    if len(name) > _NAME_LIMIT:
        raise _reference_error(text, f"the full name is longer than {_NAME_LIMIT} characters")
    return name


def name_to_directory(canonical: str) -> str:
    """Return the name of the directory below ``images/`` that holds the image ``canonical``."""
    return canonical.replace("/", "%").replace(":", "+")


def spelled_out(text: str) -> str:
    """Return a name that may have the spelling of a directory, ``a%b+c``, as ``a/b:c``.

    Charliecloud shows names in this spelling as directories, and takes it everywhere.  No other
    name has either of the two characters.
    """
    return text.replace("%", "/").replace("+", ":")


def split_reference(text: str) -> tuple[str, str, str, str]:
    """Return (registry, repository, tag, digest) of ``text``, with defaults filled in.

    ``text`` may have either spelling of ``spelled_out``.

    ``tag`` is ``latest`` if ``text`` has neither tag nor digest, and empty if ``text`` has only a
    digest.  ``digest`` may be empty.  Raises ReferenceSyntaxError.
    """
    text = spelled_out(text)
    scheme, slashes, _ = text.partition("://")
    if slashes:
        raise _reference_error(text, f"leave out {scheme + slashes!r}")
    rest, at, digest = text.partition("@")
    if at and not _is_digest(digest):
        raise _reference_error(text, f"{digest[:_NAME_LIMIT]!r} is not a digest")
    tag = ""
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _is_tag(tag):
            raise _reference_error(text, f"{tag[:_NAME_LIMIT]!r} is not a tag")
    if not rest:
        raise _reference_error(text, "the name is missing")

    registry, slash, repository = rest.partition("/")
    if not slash or not looks_like_registry(registry):
        registry, repository = DEFAULT_REGISTRY, rest
    elif not _is_registry(registry):
        raise _reference_error(text, f"{registry[:_NAME_LIMIT]!r} is not a host")
    if registry == _LEGACY_REGISTRY:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = OFFICIAL_PREFIX + repository
    for component in repository.split("/"):
        if not _is_path_component(component):
            raise _reference_error(text, _component_fault(component))
    if len(text) == 64 and _HEX_DIGITS.issuperset(text):
        raise _reference_error(text, "64 hexadecimal digits name a blob, not an image")
    if not tag and not digest:
        tag = DEFAULT_TAG
    return registry, repository, tag, digest


def looks_like_registry(first: str) -> bool:
    """Tell whether ``first`` is a host, not the first part of a Docker Hub repository."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _is_registry(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host = text
    elif not (port.isascii() and port.isdigit()):
        return False
    if host.startswith("[") and host.endswith("]"):
        address = host[1:-1].lower()
        return bool(address) and (_HEX_DIGITS | {":"}).issuperset(address)
    return all(map(_is_domain_component, host.split(".")))


def _is_domain_component(text: str) -> bool:
    return text.strip("-") == text != "" and (_ALNUM | {"-"}).issuperset(text)


def _is_path_component(text: str) -> bool:
    """Check for letters and digits with single separators between them."""
    if not text or text[0] not in _LOWER_ALNUM or text[-1] not in _LOWER_ALNUM:
        return False
    separator = ""
    for character in text:
        if character not in _LOWER_ALNUM:
            separator += character
        elif separator:
            if separator not in _PATH_SEPARATORS and separator.strip("-"):
                return False
            separator = ""
    return True


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= _TAG_LIMIT and text[0] in _TAG_START and _TAG_REST.issuperset(text)


def _is_digest(text: str) -> bool:
    algorithm, _, encoded = text.partition(":")
    return len(encoded) == _DIGEST_SIZES.get(algorithm) and _HEX_DIGITS.issuperset(encoded)


def _component_fault(component: str) -> str:
    if not component:
        return "a part of the name is empty"
    if component != component.lower():
        return f"{component[:_NAME_LIMIT]!r} is not in lower case"
    return f"{component[:_NAME_LIMIT]!r} is not a part of a name"


def _reference_error(text: str, fault: str) -> ReferenceSyntaxError:
    if len(text) > _NAME_LIMIT:
        text = text[:_NAME_LIMIT] + "..."
    return ReferenceSyntaxError(f"not an image reference: {text!r}: {fault}", _REFERENCE_HINT)
