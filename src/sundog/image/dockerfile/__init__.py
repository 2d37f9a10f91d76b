"""Dockerfiles: text to instructions.  No I/O; ``builder/`` carries the instructions out."""
