"""The directory ``ch`` in an image's root: the image's environment, variables and records.

A one-file image keeps its default command in ``ch/stack``, in the format of ``stack``.

A directory image keeps its records in ``DIR/ch/owners``, in the format of ``owners``.
``ch-run --notify -w DIR`` replaces the whole file, under an exclusive flock(2) on the old one.
Until then the name of the new file begins with RECORDS_DRAFT.
"""

from __future__ import annotations

RECORDS_DIRECTORY = b"ch"
RECORDS = b"owners"
RECORDS_DRAFT = b"owners.new"
OWN_RECORDS = RECORDS_DIRECTORY + b"/" + RECORDS

# In a one-file image (SquashFS): its default command, in the format of ``stack``; and its
# variables, as every image has them.
OWN_COMMAND = b"ch/stack"
OWN_VARIABLES = b"ch/environment"
