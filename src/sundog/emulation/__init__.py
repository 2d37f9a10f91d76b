"""A mock root: system calls that only root may make are answered "done".

Floor 0: part of ``ch-run``, so the standard library's light modules only.  Not a security boundary.
"""
