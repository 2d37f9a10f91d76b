"""The functions for Python programs.  ``import sundog`` offers them; docs/api.md describes them.

They print nothing, read nothing from the terminal, and leave signals alone.  They raise what
``sundog.errors`` has, and OSError for files of the program's own.  What they take and return
changes only as semantic versioning allows.
"""
