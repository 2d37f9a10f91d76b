"""Where a directory image keeps its records: ``DIR/ch/owners``, in the format of ``owners``.

``ch-run --notify -w DIR`` replaces the whole file, under an exclusive flock(2) on the old one.
Until then the name of the new file begins with RECORDS_DRAFT.

Floor 0.
"""

RECORDS_DIRECTORY = b"ch"
RECORDS = b"owners"
RECORDS_DRAFT = b"owners.new"
