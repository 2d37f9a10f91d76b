"""``config.json`` of a bundle, and the process of ``exec``, as values.

Specification: OCI runtime-spec 1.2, config.md and config-linux.md.  A bundle may come from anybody:
its file is bounded, every known field has its type, and no text has a NUL.  Unknown fields are
ignored, as the specification demands.
"""

from __future__ import annotations

import os
import re
import stat

from sundog.base.cpython import blake2b
from sundog.base.fields import Fields, parse_json
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import escaped, printable
from sundog.errors import RuntimeConfigError, SundogError
from sundog.image.oci.value_class import value_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG = "config.json"
SIZE_LIMIT = 4 << 20  # bytes of a config.json
LIST_LIMIT = 4096  # mounts, hooks of a stage, paths, limits
_INT_LIMIT = 1 << 64

# Versions of the specification: this major version.
_VERSION = re.compile(r"1\.\d{1,4}\.\d{1,4}([-+][0-9A-Za-z.+-]{0,64})?", re.ASCII)

HOOK_STAGES = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)

Texts = tuple[bytes, ...]


@value_class(frozen=True, slots=True)
class Limit:
    """A limit of setrlimit(2); ``kind`` is its name in the specification."""

    kind: str
    soft: int
    hard: int


@value_class(frozen=True, slots=True)
class ProcessSettings:
    """The command of a container, and the properties of its process.

    ``capabilities`` is the bounding set, None if the configuration has no sets.  ``console_size``
    is rows and columns, (0, 0) if not given.  ``labels`` says which security labels it asks for;
    ``scheduling`` which properties that an ordinary user has no part in.
    """

    args: Texts
    env: Texts
    cwd: bytes
    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()
    terminal: bool = False
    console_size: tuple[int, int] = (0, 0)
    limits: tuple[Limit, ...] = ()
    capabilities: frozenset[str] | None = None
    oom_score: int | None = None
    labels: tuple[str, ...] = ()
    scheduling: tuple[str, ...] = ()


@value_class(frozen=True, slots=True)
class MountEntry:
    """An entry of ``mounts``."""

    destination: bytes
    kind: str
    source: bytes
    options: tuple[str, ...]


@value_class(frozen=True, slots=True)
class Hook:
    """A program of the runtime's caller; ``timeout`` is in seconds, None for no limit."""

    path: bytes
    args: Texts
    env: Texts
    timeout: int | None


@value_class(frozen=True, slots=True)
class Device:
    """An entry of ``linux.devices``."""

    path: bytes
    kind: str
    major: int
    minor: int


@value_class(frozen=True, slots=True)
class Configuration:
    """A container: the parts of ``config.json`` that a Type III container has.

    ``digest`` stands for its text.  ``process`` is None if ``config.json`` has none; then the
    container cannot be created here.  ``namespaces`` maps the type to the path of one to join, or
    b"" for a new one.  ``left_out`` names the parts that were asked for and that nobody without
    privileges can provide.
    """

    digest: str
    version: str
    root: bytes
    read_only: bool
    process: ProcessSettings | None
    hostname: bytes
    domainname: bytes
    mounts: tuple[MountEntry, ...]
    hooks: dict[str, tuple[Hook, ...]]
    annotations: dict[str, str]
    namespaces: dict[str, bytes]
    masked_paths: Texts
    read_only_paths: Texts
    devices: tuple[Device, ...]
    sysctl: dict[str, str]
    left_out: tuple[str, ...]


class Reader(Fields):
    """An object of ``config.json``."""

    TAKES_LONE_STRINGS = False

    def text(self, key: str, *, required: bool = False) -> bytes:
        """Remove a string and return it as the kernel takes it."""
        value = self.required_string(key) if required else self.string(key)
        return self.encoded(key, value)

    def texts(self, key: str, most: int | None = None) -> Texts:
        """Remove a list of strings and return them as the kernel takes them."""
        values = self.strings(key) or ()
        if most is not None and len(values) > most:
            raise self._error(f"{self.what}: {key}: more than {most} entries")
        return tuple(self.encoded(key, value) for value in values)

    def encoded(self, key: str, value: str) -> bytes:
        """Return a string as the kernel takes it."""
        try:
            data = os.fsencode(value)
        except UnicodeEncodeError:
            raise self._error(f"{self.what}: {key}: not Unicode text") from None
        if b"\0" in data:
            raise self._error(f"{self.what}: {key}: has a NUL character: {printable(data)}")
        return data

    def integer(self, key: str, least: int = 0, most: int = _INT_LIMIT - 1) -> int | None:
        """Remove a whole number and return it, None when it is absent."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, "a whole number", value)
        if not least <= value <= most:
            raise self._error(f"{self.what}: {key}: must be from {least} to {most}")
        return value

    def list_of(self, key: str) -> list[Reader]:
        """Remove a list of objects, and return readers of them."""
        found = self.objects(key)
        if len(found) > LIST_LIMIT:
            raise self._error(f"{self.what}: {key}: more than {LIST_LIMIT} entries")
        return found

    def absolute(self, key: str) -> bytes:
        """Remove a path, which must be absolute, and return it."""
        path = self.text(key, required=True)
        if not path.startswith(b"/"):
            raise self._error(f"{self.what}: {key}: not an absolute path: {printable(path)}")
        return path


def read_file(path: bytes, what: str) -> bytes:
    """Return the content of a regular file of at most SIZE_LIMIT bytes.

    Raises SundogError, whose message begins with ``what``.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        hint = "a bundle is a directory with config.json" if path.endswith(b".json") else ""
        raise SundogError(f"{what}: {printable(path)}: {error.strerror}", hint) from None
    with Closing(fd):
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SundogError(f"{what}: {printable(path)}: not a regular file")
        data = b""
        while len(data) <= SIZE_LIMIT and (piece := os.read(fd, SIZE_LIMIT + 1 - len(data))):
            data += piece
    if len(data) > SIZE_LIMIT:
        raise SundogError(f"{what}: {printable(path)}: larger than {SIZE_LIMIT >> 20} MiB")
    return data


def read_bundle(bundle: bytes) -> Configuration:
    """Return the configuration of the bundle, a directory.  Raises SundogError."""
    path = bundle + b"/" + CONFIG.encode()
    return parse_configuration(read_file(path, "cannot read the bundle"))


def read_bundle_again(bundle: bytes, digest: str) -> Configuration:
    """Return the configuration of a bundle that ``create`` has read with this ``digest``.

    Raises SundogError if it has changed since.
    """
    configuration = read_bundle(bundle)
    if configuration.digest != digest:
        raise SundogError(
            f"{printable(bundle)}/{CONFIG} has changed since the container was created",
            "delete the container, and create it anew",
        )
    return configuration


def parse_configuration(text: bytes | str) -> Configuration:
    """Return the configuration in JSON text.  Raises RuntimeConfigError."""
    top = Reader.parse(text, CONFIG, RuntimeConfigError)
    version = top.required_string("ociVersion")
    if not _VERSION.fullmatch(version):
        raise RuntimeConfigError(
            f"{CONFIG}: unsupported ociVersion: {escaped(version[:80])}",
            "this runtime knows the versions 1.0.0 to 1.2 of the specification",
        )
    root = top.nested("root", required=True)
    linux = top.nested("linux")
    read = _process(top.nested("process")) if top.rest.get("process") is not None else None
    return Configuration(
        digest=digest_of(text),
        version=version,
        root=root.text("path", required=True),
        read_only=root.boolean("readonly"),
        process=read,
        hostname=top.text("hostname"),
        domainname=top.text("domainname"),
        mounts=tuple(map(_mount, top.list_of("mounts"))),
        hooks=parse_hooks(top.nested("hooks")),
        annotations=top.string_map("annotations"),
        namespaces=_namespaces(linux),
        masked_paths=linux.texts("maskedPaths", LIST_LIMIT),
        read_only_paths=linux.texts("readonlyPaths", LIST_LIMIT),
        devices=tuple(map(_device, linux.list_of("devices"))),
        sysctl=linux.string_map("sysctl"),
        left_out=tuple(_left_out(linux)),
    )


def digest_of(text: bytes | str) -> str:
    """Return the digest of a configuration."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return blake2b(data).hexdigest()


def parse_process(text: bytes | str) -> ProcessSettings:
    """Return the process in the JSON text of ``exec --process``.  Raises RuntimeConfigError."""
    value = parse_json(text, "process", RuntimeConfigError)
    return _process(Reader(value, "process", RuntimeConfigError))


def parse_hooks(stages: Reader) -> dict[str, tuple[Hook, ...]]:
    """Return the hooks of each stage.  Raises RuntimeConfigError."""
    return {stage: tuple(map(_hook, stages.list_of(stage))) for stage in HOOK_STAGES}


def _hook(entry: Reader) -> Hook:
    timeout = entry.integer("timeout", least=1, most=1 << 31)
    return Hook(entry.absolute("path"), entry.texts("args"), entry.texts("env"), timeout)


def _mount(entry: Reader) -> MountEntry:
    destination = entry.text("destination", required=True)
    source = entry.text("source")
    options = entry.strings("options") or ()
    for option in options:
        entry.encoded("options", option)
    for key in ("uidMappings", "gidMappings"):
        if entry.array(key):
            raise RuntimeConfigError(
                f"{entry.what}: {key}: this runtime cannot map the IDs of a mount"
            )
    return MountEntry(b"/" + destination.lstrip(b"/"), entry.string("type"), source, options)


def _device(entry: Reader) -> Device:
    major, minor = entry.integer("major", least=-1), entry.integer("minor", least=-1)
    kind = entry.required_string("type")
    return Device(entry.absolute("path"), kind, major or 0, minor or 0)


def _namespaces(linux: Reader) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in linux.list_of("namespaces"):
        kind = entry.required_string("type")
        if kind in found:
            raise RuntimeConfigError(
                f"{entry.what}: the namespace {escaped(kind[:40])} is there twice"
            )
        path = entry.text("path")
        if path and not path.startswith(b"/"):
            raise RuntimeConfigError(f"{entry.what}: path: not an absolute path: {printable(path)}")
        found[kind] = path
    return found


def _left_out(linux: Reader) -> Sequence[str]:
    """Return the names of the fields that ask for what needs privileges."""
    found = []
    resources = linux.mapping("resources")
    resources.pop("devices", None)  # no device is reachable that the user may not open anyway
    if any(resources.values()):
        found.append("linux.resources")
    for key in ("uidMappings", "gidMappings"):
        total = 0
        for entry in linux.list_of(key):
            total += entry.integer("size") or 0
        if total > 1:
            found.append(f"linux.{key}")
    for key in ("seccomp", "intelRdt", "mountLabel", "personality", "timeOffsets", "netDevices"):
        if linux.take(key):
            found.append(f"linux.{key}")
    if linux.string("rootfsPropagation") in ("shared", "rshared"):
        found.append("linux.rootfsPropagation")
    return found


def _process(entry: Reader) -> ProcessSettings:
    args = entry.texts("args")
    if not args:
        raise RuntimeConfigError(f"{entry.what}: args: expected at least one string")
    user = entry.nested("user")
    console = entry.nested("consoleSize")
    rows, columns = (console.integer(key, most=0xFFFF) or 0 for key in ("height", "width"))
    capabilities = None
    if entry.rest.get("capabilities") is not None:
        capabilities = frozenset(entry.nested("capabilities").strings("bounding") or ())
    id_limit = (1 << 32) - 2
    return ProcessSettings(
        args=args,
        env=entry.texts("env"),
        cwd=entry.absolute("cwd"),
        uid=user.integer("uid", most=id_limit) or 0,
        gid=user.integer("gid", most=id_limit) or 0,
        umask=user.integer("umask", most=0o777),
        additional_gids=tuple(_numbers(user, "additionalGids")),
        terminal=entry.boolean("terminal"),
        console_size=(rows, columns),
        limits=tuple(map(_limit, entry.list_of("rlimits"))),
        capabilities=capabilities,
        oom_score=entry.integer("oomScoreAdj", least=-1000, most=1000),
        labels=tuple(key for key in ("apparmorProfile", "selinuxLabel") if entry.string(key)),
        scheduling=tuple(
            key for key in ("scheduler", "ioPriority", "execCPUAffinity") if entry.mapping(key)
        ),
    )


def _limit(entry: Reader) -> Limit:
    kind = entry.required_string("type")
    soft, hard = entry.integer("soft") or 0, entry.integer("hard") or 0
    if soft > hard:
        raise RuntimeConfigError(f"{entry.what}: soft: {soft} is larger than hard, {hard}")
    return Limit(kind, soft, hard)


def _numbers(entry: Reader, key: str) -> list[int]:
    found = entry.array(key) or []
    numbers = [value for value in found if isinstance(value, int) and not isinstance(value, bool)]
    if len(numbers) != len(found):
        raise entry.wrong(key, "a list of numbers", None)
    return numbers
