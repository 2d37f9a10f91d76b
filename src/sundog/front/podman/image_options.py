"""The options of ``sundog``'s subcommands that ``ch-image`` does the work of.

Specification: podman(1) and docker(1), one page for each subcommand.
"""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.front.options import (
    HELD,
    REFUSED,
    TAKEN,
    WARNED,
    Option,
    flag,
    one_of,
    unless,
    valued,
)
from sundog.front.podman.security import harmless_security
from sundog.front.podman.volumes import build_volume

_LAYERS = "each instruction is a layer, and is cached"
_JOB = "the batch system decides that"


def _arch(value: str) -> list[str]:
    """Return --platform ``linux/arm64`` as --arch ``arm64``."""
    return [f"--arch={value.removeprefix('linux/')}"]


def _bind(value: str) -> list[str]:
    """Return -v ``SRC:DST:MODES`` as --bind ``SRC:DST[:ro]``."""
    return [build_volume(value).word()]


def _network(mode: str) -> list[str]:
    """Return --network; one with an address of its own is the host's, as RUN needs it."""
    if mode == "none":
        return ["--network=none"]
    if mode in ("host", "default", "private", ""):
        return ["--network=host"]
    raise UsageError(
        f"--network {mode}: there is no such network here", "host (the default), or none"
    )


HELP = Option("--help -h", "", TAKEN, "print this help and exit")
_QUIET = Option("--quiet -q", "", TAKEN, "print warnings and errors only", to=flag("--quiet"))
_TLS = Option(
    "--tls-verify", "", TAKEN, "false: trust any certificate", to=unless("--tls-no-verify")
)
_LOGIN = Option(
    "--creds", "USER:PASSWORD", REFUSED, "every user of the machine sees a command line",
    "sundog login; or set $CH_IMAGE_USERNAME and $CH_IMAGE_PASSWORD",
)  # fmt: skip
_AUTHFILE = Option(
    "--authfile", "FILE", REFUSED, "a variable names that file", "set $REGISTRY_AUTH_FILE"
)
_CERTS = Option(
    "--cert-dir", "DIR", REFUSED, "certs.d has certificates", "see the FAQ of Sundog, registries"
)
_PLATFORM = Option("--platform", "OS/ARCH", TAKEN, "an image for this platform", to=_arch)
_ONE_PLATFORM = Option("--platform", "OS/ARCH", TAKEN, "that of several under a name", to=_arch)
_ARCH = Option("--arch", "ARCH", TAKEN, "the same", to=_arch)
_REGISTRY = (_QUIET, _TLS, _LOGIN, _AUTHFILE, _CERTS, HELP)
_JSON = Option("--format", "json", TAKEN, "for scripts", to=valued("--format"))

BUILD = (
    Option("--tag -t", "NAME", TAKEN, "name of the image; repeatable", to=valued("--tag")),
    Option("--file -f", "DOCKERFILE", TAKEN, "default: CONTEXT/Dockerfile or Containerfile"),
    Option("--build-arg", "NAME[=VALUE]", TAKEN, "set an ARG", to=valued("--build-arg")),
    Option(
        "--build-context", "NAME=SOURCE", TAKEN, "files for a name", to=valued("--build-context")
    ),
    Option("--label", "NAME=VALUE", TAKEN, "add a label", to=valued("--label")),
    Option("--target", "STAGE", TAKEN, "build this stage", to=valued("--target")),
    Option("--secret", "id=ID[,src=FILE]", TAKEN, "pass a secret", to=valued("--secret")),
    Option("--ssh", "ID[=SOCKET]", TAKEN, "pass an agent", to=valued("--ssh")),
    Option("--iidfile", "FILE", TAKEN, "write the ID there", to=valued("--iidfile")),
    Option("--metadata-file", "FILE", TAKEN, "describe the result", to=valued("--metadata-file")),
    Option("--output -o", "DIR", TAKEN, "write the result: DIR, or type=TYPE,dest=PATH",
           to=valued("--output")),
    Option("--no-cache", "", TAKEN, "do not use the build cache", to=flag("--no-cache")),
    Option("--cache-from", "REPO", TAKEN, "take results from there, too",
           to=valued("--cache-from")),
    Option("--cache-to", "REPO", TAKEN, "write results there", to=valued("--cache-to")),
    Option("--cache-ttl", "TIME", TAKEN, "take nothing that is older", to=valued("--cache-ttl")),
    Option("--explain-cache", "", TAKEN, "say why the first instruction of a stage missed",
           to=flag("--explain-cache")),
    Option("--pull", "[POLICY]", TAKEN, "ask the registry for newer bases: always, newer, missing "
           "or never", to=valued("--pull")),
    Option("--push", "", TAKEN, "copy the result to registries", to=flag("--push")),
    Option("--retry", "NUMBER", TAKEN, "try so often again", to=valued("--retry")),
    Option("--network --net", "MODE", TAKEN, "none: RUN has an empty network; host: the host's",
           to=_network),
    Option("--annotation", "NAME=VALUE", TAKEN, "annotate the manifest", to=valued("--annotation")),
    Option("--ignorefile", "FILE", TAKEN, "in place of .dockerignore", to=valued("--ignorefile")),
    Option("--timestamp", "SECONDS", TAKEN, "the time of the image", to=valued("--timestamp")),
    Option("--no-cache-filter", "STAGE", TAKEN, "build this stage anew",
           to=valued("--no-cache-filter")),
    Option("--squash", "", TAKEN, "one layer of those of the build", to=flag("--squash")),
    Option("--squash-all", "", TAKEN, "one layer of all", to=flag("--squash-all")),
    Option("--jobs", "NUMBER", TAKEN, "build so many stages at a time", to=valued("--jobs")),
    Option("--keep-going", "", TAKEN, "after a failure, go on with what does not need it",
           to=flag("--keep-going")),
    Option("--volume -v", "SRC:DST[:ro]", TAKEN, "show SRC to RUN", to=_bind),
    Option("--force", "MODE", TAKEN, "emulation of root; not podman's", to=valued("--force")),
    Option("--check", "", TAKEN, "check the Dockerfile, build nothing", to=flag("--check")),
    Option("--progress", "KIND", TAKEN, "auto, tty, plain, quiet or rawjson",
           to=valued("--progress")),
    Option("--platform", "OS/ARCH,…", TAKEN, "build for these platforms; repeatable",
           to=valued("--platform")),
    _ARCH,
    _QUIET,
    _TLS,
    _LOGIN,
    _AUTHFILE,
    HELP,
    Option("--layers", "", HELD, _LAYERS),
    Option("--rm", "", HELD, "nothing is left of a step"),
    Option("--force-rm", "", HELD, "nothing is left of a step"),
    Option("--load", "", HELD, "the image is in storage"),
    Option("--allow", "ENTITLEMENT", HELD, "RUN can do only what you can do"),
    Option("--builder", "NAME", WARNED, "there is only one builder"),
    Option("--format", "FORMAT", HELD, "images have no format until they leave"),
    Option("--isolation", "TYPE", HELD, "there is only one kind of isolation"),
    Option("--shm-size", "SIZE", HELD, "/dev/shm is as large as memory"),
    Option("--retry-delay", "TIME", WARNED, "the delay begins at half a second, and doubles"),
    Option("--ulimit", "LIMIT", WARNED, "your own limits hold"),
    Option("--memory -m", "SIZE", WARNED, _JOB),
    Option("--cpuset-cpus", "LIST", WARNED, _JOB),
    Option("--cap-add", "NAME", WARNED, "RUN has your own rights, and emulated ones"),
    Option("--cap-drop", "NAME", WARNED, "RUN has your own rights, and emulated ones"),
    Option("--env", "NAME=VALUE", REFUSED, "a Dockerfile says that", "write ENV there"),
    Option("--add-host", "NAME:ADDRESS", REFUSED, "RUN has the host's /etc/hosts", "leave it out"),
    Option("--provenance", "[TYPE]", REFUSED, "no attestation is made", "leave it out",
           harmless=one_of("false")),
    Option("--sbom", "[TYPE]", REFUSED, "no attestation is made", "leave it out",
           harmless=one_of("false")),
    Option("--security-opt", "OPTION", REFUSED, "RUN has no other rights and filters than yours",
           "leave it out", harmless=harmless_security),
)  # fmt: skip

PULL = (
    _PLATFORM,
    _ARCH,
    *_REGISTRY,
    Option("--policy", "POLICY", REFUSED, "the registry is always asked", "leave it out",
           harmless=one_of("always", "newer")),
    Option("--all-tags -a", "", REFUSED, "one tag is pulled at a time", "repeat sundog pull"),
    Option("--disable-content-trust", "", HELD, "contents are checked by their digests"),
)  # fmt: skip

BAKE = (
    Option("--file -f", "FILE", TAKEN, "a bake file in JSON, or a compose file; repeatable"),
    Option("--set", "TARGET.KEY=VALUE", TAKEN, "replace a key of targets"),
    Option("--print", "", TAKEN, "print the targets, and build nothing"),
    Option("--no-cache", "", TAKEN, "do not use the build cache", to=flag("--no-cache")),
    Option("--pull", "", TAKEN, "ask the registry for newer bases", to=flag("--pull")),
    Option("--push", "", TAKEN, "copy the results to registries", to=flag("--push")),
    Option("--progress", "KIND", TAKEN, "as that of build", to=valued("--progress")),
    Option("--jobs", "NUMBER", TAKEN, "build so many targets, and stages, at a time"),
    HELP,
    Option("--load", "", HELD, "the images are in storage"),
    Option("--allow", "ENTITLEMENT", HELD, "RUN can do only what you can do"),
    Option("--builder", "NAME", WARNED, "there is only one builder"),
    Option("--metadata-file", "FILE", REFUSED, "one target has one file", "sundog build"),
    Option("--check", "", REFUSED, "targets are built", "sundog build --check"),
    Option("--list", "[KIND]", REFUSED, "names are in the file", "sundog buildx bake --print"),
    Option("--provenance", "[TYPE]", REFUSED, "no attestation is made", "leave it out",
           harmless=one_of("false")),
    Option("--sbom", "[TYPE]", REFUSED, "no attestation is made", "leave it out",
           harmless=one_of("false")),
)  # fmt: skip

IMAGETOOLS = (
    _TLS,
    _LOGIN,
    _AUTHFILE,
    HELP,
    Option("--raw", "", HELD, "the document is printed as the registry has it"),
    Option("--format", "TEMPLATE", REFUSED, "the document is printed as the registry has it",
           "sundog buildx imagetools inspect IMAGE | jq FILTER"),
)  # fmt: skip

_COMPRESSION = Option("--compression-format", "gzip|zstd|zstd:chunked|estargz", TAKEN,
                      "of layers made here", to=valued("--compression"))  # fmt: skip
PUSH = (
    *_REGISTRY,
    _ONE_PLATFORM,
    _COMPRESSION,
    Option("--first", "FILE", TAKEN, "of estargz: what FILE lists comes first; kept: what records "
           "in storage list; not podman's", to=valued("--first")),
    Option("--remove-signatures", "", HELD, "no signature is copied"),
    Option("--format -f", "FORMAT", WARNED, "pulled images keep their format, others are OCI"),
    Option("--all-tags -a", "", REFUSED, "one tag is pushed at a time", "repeat sundog push"),
    Option("--digestfile", "FILE", REFUSED, "the digest is the last line", "sundog push … >FILE"),
    Option("--sign-by", "KEY", REFUSED, "nothing is signed here", "sign it with cosign afterwards"),
)  # fmt: skip

_ANNOTATION = Option(
    "--annotation",
    "NAME=VALUE",
    REFUSED,
    "images have annotations, lists have none",
    "sundog manifest annotate --annotation NAME=VALUE LIST IMAGE",
)
_ALL = Option("--all", "", HELD, "all platforms of an image are taken")
MANIFEST = {
    "create": (
        *_REGISTRY,
        _ALL,
        Option("--amend -a", "", TAKEN, "add to a list that is there", to=flag("--amend")),
        _ANNOTATION,
    ),
    "add": (
        *_REGISTRY,
        _ARCH,
        _ALL,
        Option("--os", "OS", WARNED, "it is that of the image"),
        Option("--variant", "VARIANT", WARNED, "it is that of the image"),
        _ANNOTATION,
    ),
    "annotate": (
        HELP,
        Option("--arch", "ARCH", TAKEN, "the architecture of the image", to=_arch),
        Option("--os", "OS", TAKEN, "its operating system", to=valued("--os")),
        Option("--variant", "VARIANT", TAKEN, "the variant of its architecture",
               to=valued("--variant")),
        Option("--annotation", "NAME=VALUE", TAKEN, "annotate the image; repeatable",
               to=valued("--annotation")),
        Option("--features", "FEATURE", REFUSED, "image-spec has none", "leave it out"),
        Option("--os-features", "FEATURE", REFUSED, "they are for Windows", "leave it out"),
        Option("--os-version", "VERSION", REFUSED, "it is for Windows", "leave it out"),
        Option("--index", "", REFUSED, "images have annotations, lists have none", "leave it out"),
        Option("--subject", "IMAGE", REFUSED, "a list refers to no other image", "leave it out"),
    ),
    "rm": (HELP,),
    "push": (
        *_REGISTRY,
        _ALL,
        _COMPRESSION,
        Option("--format -f", "FORMAT", WARNED, "pulled images keep their format, others are OCI"),
        Option("--rm", "", REFUSED, "a list stays", "sundog manifest rm LIST"),
        Option("--remove-signatures", "", HELD, "no signature is copied"),
        Option("--digestfile", "FILE", REFUSED, "the digest is the last line",
               "sundog manifest push … >FILE"),
    ),
    "inspect": (_TLS, _LOGIN, _AUTHFILE, HELP),
}  # fmt: skip

IMAGES = (
    Option("--all -a", "", HELD, "there are no hidden images"),
    Option("--quiet -q", "", TAKEN, "print IDs only"),
    Option("--no-trunc", "", TAKEN, "print whole IDs"),
    Option("--noheading -n", "", TAKEN, "print no header"),
    Option("--format", "json|TEMPLATE", TAKEN, "JSON, or a line such as {{.Repository}}:{{.Tag}}"),
    Option("--digests", "", WARNED, "sundog inspect shows digests"),
    Option(
        *("--filter -f", "KEY=VALUE", TAKEN),
        "dangling, reference, label, before, since, until, readonly or id",
    ),
    Option("--sort", "KEY", REFUSED, "sundog sorts by name", "sundog images | sort"),
    HELP,
)

REMOVE = (
    _ONE_PLATFORM,
    Option("--force -f", "", TAKEN, "no error for images that are not there"),
    Option("--all -a", "", TAKEN, "delete all images"),
    Option("--no-prune", "", HELD, "layers go when nothing needs them"),
    HELP,
)

SAVE = (
    _ONE_PLATFORM,
    Option("--output -o", "FILE", TAKEN, "where to (default: standard output)",
           to=valued("--output")),
    Option("--format", "FORMAT", TAKEN, "docker-archive (default), oci-archive or oci-dir"),
    Option("--compress", "", HELD, "layers are compressed"),
    Option("--multi-image-archive -m", "", HELD, "several images may be in one archive"),
    _QUIET,
    HELP,
)  # fmt: skip

LOAD = (
    Option("--input -i", "FILE", TAKEN, "the archive (default: standard input)"),
    _QUIET,
    HELP,
)

IMPORT = (
    _PLATFORM,
    _ARCH,
    Option("--message -m", "TEXT", WARNED, "no comment is kept"),
    Option("--change -c", "INSTRUCTION", REFUSED, "an import changes nothing",
           "sundog build, with a Dockerfile FROM the imported image"),
    _QUIET,
    HELP,
)  # fmt: skip

_TEMPLATE = Option(
    "--format -f", "json|TEMPLATE", TAKEN, "a Go template, such as {{.State.Status}}"
)
INSPECT = (
    _TEMPLATE,
    Option("--type -t", "TYPE", TAKEN, "container, image or all (default)"),
    Option("--size -s", "", HELD, "sizes are shown"),
    HELP,
)
IMAGE_INSPECT = (_TEMPLATE, HELP)

HISTORY = (
    Option("--no-trunc", "", HELD, "nothing is cut"),
    Option("--human -H", "", HELD, "sizes have units"),
    Option("--quiet -q", "", REFUSED, "layers of history have no IDs", "--format json"),
    _JSON,
    HELP,
)

LOGIN = (
    Option("--username -u", "USER", TAKEN, "default: ask", to=valued("--username")),
    Option("--password-stdin", "", TAKEN, "read it from standard input",
           to=flag("--password-stdin")),
    Option("--password -p", "PASSWORD", REFUSED, "every user of the machine sees a command line",
           "--password-stdin"),
    _TLS,
    _AUTHFILE,
    _CERTS,
    HELP,
)  # fmt: skip

LOGOUT = (
    Option("--all -a", "", REFUSED, "sundog forgets one login at a time", "sundog logout HOST"),
    _AUTHFILE,
    HELP,
)

_PRUNE = (
    Option("--force -f", "", TAKEN, "do not ask"),
    Option("--all -a", "", TAKEN, "also images that no container uses"),
    Option("--build", "", HELD, "nothing is left of broken builds"),
)
SYSTEM_PRUNE = (
    *_PRUNE,
    Option("--volumes", "", HELD, "there are no volumes"),
    Option("--filter", "KEY=VALUE", TAKEN, "until=TIME, label=KEY[=VALUE]"),
    HELP,
)
IMAGE_PRUNE = (
    *_PRUNE,
    Option("--filter", "KEY=VALUE", TAKEN, "as those of sundog images"),
    HELP,
)
BUILDER_PRUNE = (
    Option("--force -f", "", HELD, "it asks nothing"),
    Option("--all -a", "", HELD, "what no image needs goes"),
    Option("--filter", "FILTER", REFUSED, "sundog can't filter", "leave it out"),
    HELP,
)

DISK_USE = (
    _JSON,
    Option("--verbose -v", "", HELD, "each image has its line"),
    HELP,
)

DOCTOR = (
    Option("--json", "", TAKEN, "for scripts", to=flag("--json")),
    Option("--registry", "HOST", TAKEN, "a registry to try; repeatable", to=valued("--registry")),
    HELP,
)

CONFIG = (
    Option("--check", "", TAKEN, "read all of it strictly, stores and accounts included"),
    Option("--write", "", TAKEN, "write what starts read in place of the files; root: the site's"),
    HELP,
)

AGENT = (
    Option("--socket", "PATH", TAKEN, "the socket; default: $XDG_RUNTIME_DIR/sundog/agent.sock"),
    Option("--once", "", TAKEN, "end with the first container"),
    Option("--profile", "", TAKEN, "print linux.seccomp, for a runtime or for podman"),
    Option("--bundle", "DIR", TAKEN, "put the profile into DIR/config.json"),
    Option("--owners", "FILE", TAKEN, "in the profile: the records to begin with"),
    Option("--changes", "DIR", TAKEN, "in the profile: the root whose records are kept"),
    Option("--arch", "ARCH", TAKEN, "in the profile: the architecture; default: this machine's"),
    HELP,
)
PLAIN = (HELP,)
