"""Where a directory image keeps its records: ``DIR/ch/owners``, in the format of ``owners``.

``ch-run --notify -w DIR`` replaces the file as a whole, under an exclusive flock(2) on the one that
is there; a draft has a name that begins with DRAFT.

Floor 0.
"""

RECORDS_DIRECTORY = b"ch"
RECORDS = b"owners"
RECORDS_DRAFT = b"owners.new"
