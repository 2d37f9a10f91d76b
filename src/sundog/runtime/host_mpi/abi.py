"""Names and versions of shared libraries, and whether two of them fit.

A library ``libmpi.so.12.4.1`` has the linker name ``libmpi`` and the version 12.4.1.  The first
number is that of its soname: the ABI.  The algorithm is that of Sarus: a library can take the place
of another one with the same linker name and the same ABI; a newer minor number may only add to the
ABI.

Sources: the documentation of Sarus 1.7, "Native MPI support"; the MPICH ABI Compatibility
Initiative; MPI 5.0, chapter 20 (Application Binary Interface).
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable

MAJOR_FITS, FULL_FITS, STRICT_FITS = "major", "full", "strict"
COMPATIBILITIES = (MAJOR_FITS, FULL_FITS, STRICT_FITS)

# The libraries of an MPI that programs are linked with, by their linker names.
MPI_LIBRARIES = (
    b"libmpi",
    b"libmpi_abi",
    # MPICH and its relatives
    b"libmpifort",
    b"libmpicxx",
    # Open MPI
    b"libmpi_mpifh",
    b"libmpi_usempif08",
    b"libmpi_usempi_ignore_tkr",
    b"libmpi_cxx",
    b"liboshmem",
)

# Other names of the same ABI: Debian's MPICH, beside which Open MPI can be installed.
SAME_AS = {b"libmpich": b"libmpi", b"libmpichfort": b"libmpifort", b"libmpichcxx": b"libmpicxx"}

# Names of ABIs for messages, by linker name and major number.
_KNOWN_ABIS = {
    (b"libmpi", 12): "MPICH, Intel MPI, MVAPICH, Cray MPICH",
    (b"libmpi", 40): "Open MPI 3 to 5",
    (b"libmpi", 20): "Open MPI 2",
}

# glibc itself: its parts belong together, and are replaced together or not at all.
_GLIBC_PARTS = (
    *(b"ld-linux", b"ld64.so", b"libBrokenLocale.so", b"libanl.so", b"libc.so", b"libdl.so"),
    *(b"libm.so", b"libmvec.so", b"libnsl.so", b"libnss_", b"libpthread.so", b"libresolv.so"),
    *(b"librt.so", b"libthread_db.so", b"libutil.so"),
)
C_LIBRARY = b"libc.so.6"
_GLIBC_VERSION = b"GLIBC_"


def linker_name(name: bytes) -> bytes:
    """Return the part of a library's name before ``.so``; b"" if it has none."""
    before, so, _ = name.partition(b".so")
    return before if so else b""


def abi_name(name: bytes) -> bytes:
    """Return the linker name, which is the same for all names of one ABI."""
    found = linker_name(name)
    return SAME_AS.get(found, found)


def version_of(name: bytes) -> tuple[int, ...]:
    """Return the numbers after ``.so.`` in a library's name."""
    numbers: list[int] = []
    for word in name.partition(b".so.")[2].split(b"."):
        if not word.isdigit() or len(word) > 9:
            break
        numbers.append(int(word))
    return tuple(numbers)


def is_glibc(name: bytes) -> bool:
    """Tell whether a library is a part of glibc."""
    return name.startswith(_GLIBC_PARTS)


def misfit(host: tuple[int, ...], image: tuple[int, ...], compatibility: str) -> tuple[bool, str]:
    """Return whether a library of version ``host`` must not replace one of ``image``, and why not.

    The two have the same major number.  A reason without a refusal is a warning.
    """
    if compatibility == MAJOR_FITS:
        return False, ""
    is_strict = compatibility == STRICT_FITS
    if len(host) < 2 or len(image) < 2:
        return is_strict, "the minor versions are not known" if is_strict else ""
    if host[1] < image[1]:
        return is_strict, "the host's is older"
    if host[1] > image[1] and is_strict:
        return True, "the minor versions differ"
    return False, ""


def glibc_version(versions: set[bytes]) -> tuple[int, ...]:
    """Return the highest version of glibc among symbol versions; () if there is none."""
    found = [version_numbers(text) for text in versions if text.startswith(_GLIBC_VERSION)]
    return max(found, default=())


def version_numbers(text: bytes) -> tuple[int, ...]:
    """Return the numbers in a symbol version such as ``GLIBC_2.38``; () for ``GLIBC_PRIVATE``."""
    words = text.removeprefix(_GLIBC_VERSION).split(b".")
    return tuple(map(int, words)) if all(word.isdigit() for word in words) else ()


def described(name: bytes, major: int) -> str:
    """Name an ABI for a message."""
    known = _KNOWN_ABIS.get((abi_name(name), major), "")
    return printable(name) + (f" ({known})" if known else "")
