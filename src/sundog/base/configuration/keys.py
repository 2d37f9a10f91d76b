"""The keys of the configuration: each with its type, its variable and its option.

This table is the one place that knows them.  The reader of the files, ``sundog config``, the manual
page and the header of the compiled start take the keys from here.
"""

from __future__ import annotations

from sundog.base.record.location import STORAGE_VARIABLE
from sundog.base.record.settings import STORES_VARIABLE

YES, NO = (b"1",), (b"0",)  # the values of a truth
SYSLOG, JOURNAL, NO_LOG = b"syslog", b"journal", b"none"  # places of a log that are no files
PROGRAM = b"|"  # begins one that is a program


class Key:
    """A key.

    section, name  its table in the file, and its name there
    kind           its type: a name in ``kinds``
    variable       the variable of the environment that replaces the files' value, or ""
    option         the option that comes before both, or ""
    adds_up        whether a later file adds to an earlier one; otherwise it replaces it
    is_obeyed      whether the compiled start obeys it; otherwise no start that it serves needs it
    """

    __slots__ = ("adds_up", "is_obeyed", "kind", "name", "option", "section", "variable")

    def __init__(
        self,
        section: str,
        name: str,
        kind: str,
        *,
        variable: str = "",
        option: str = "",
        adds_up: bool = False,
        is_obeyed: bool = False,
    ) -> None:
        self.section = section
        self.name = name
        self.kind = kind
        self.variable = variable
        self.option = option
        self.adds_up = adds_up
        self.is_obeyed = is_obeyed

    @property
    def path(self) -> str:
        """The section and the name, with a dot between them."""
        return f"{self.section}.{self.name}"


STORAGE_PLACES = Key(
    *("storage", "directory", "places"),
    variable=STORAGE_VARIABLE.decode(),
    option="--storage",
    is_obeyed=True,
)
IMAGE_STORES = Key(
    "storage", "image_stores", "paths", variable=STORES_VARIABLE.decode(), option="--image-store"
)
TRUSTED_OWNERS = Key("storage", "trusted_owners", "accounts", adds_up=True)
VERIFY = Key("storage", "verify", "boolean", variable="CH_RUN_VERIFY", option="--verify")
BOUND = Key("run", "bind", "binds", option="--no-site-binds", adds_up=True, is_obeyed=True)
IN_MEMORY = Key("run", "tmpfs", "tmpfs", option="--no-site-binds", adds_up=True, is_obeyed=True)
OVERLAY_SIZE = Key("run", "write_fake", "size", option="--write-fake", is_obeyed=True)
TEMPORARY_PLACE = Key(
    "run", "tmpdir", "place", variable="TMPDIR", option="--private-tmp", is_obeyed=True
)
STATE_PLACE = Key("run", "state", "place", option="--root", is_obeyed=True)
CDI_DIRECTORIES = Key(
    "run", "cdi_dirs", "directories", variable="CH_RUN_CDI_DIRS", option="--cdi-dirs"
)
HOST_MPI_PROFILE = Key("run", "host_mpi", "profile", option="--host-mpi")
BUILD_FORCE = Key("build", "force", "word", variable="CH_IMAGE_FORCE", option="--force")
BUILD_RETRY = Key("build", "retry", "boolean")
AUTHORITIES = Key("registry", "authorities", "place", variable="REQUESTS_CA_BUNDLE")
MIRRORS = Key("registry", "mirrors", "mirrors")
RUN_OPTIONS = Key("sundog", "run_options", "options", option="the same option")
SITE_HINT = Key("messages", "hint", "text")
LOG_PLACE = Key("log", "place", "log", is_obeyed=True)
GC_KEEP_DAYS = Key("gc", "keep_days", "days", option="--keep-days")
GC_MAX_SIZE = Key("gc", "max_size", "bytes", option="--max-size")
GC_ALL = Key("gc", "all", "boolean", option="--all")

KEYS = (
    *(STORAGE_PLACES, IMAGE_STORES, TRUSTED_OWNERS, VERIFY),
    *(BOUND, IN_MEMORY, OVERLAY_SIZE, TEMPORARY_PLACE, STATE_PLACE),
    *(CDI_DIRECTORIES, HOST_MPI_PROFILE),
    *(BUILD_FORCE, BUILD_RETRY),
    *(AUTHORITIES, MIRRORS),
    RUN_OPTIONS,
    *(SITE_HINT, LOG_PLACE),
    *(GC_KEEP_DAYS, GC_MAX_SIZE, GC_ALL),
)
KNOWN = frozenset(key.path for key in KEYS)
# The paths of those whose values add up.
ADDING = frozenset(key.path for key in KEYS if key.adds_up)
