"""A mock root: system calls that only root may make get the answer "done".

Part of ``ch-run``, so it imports only light modules of the standard library.  It is not a
security boundary.
"""
