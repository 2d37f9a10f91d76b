"""One thin function per system call, and the kernel's constants.  No policy.

Floor 0: part of ``ch-run``, so the standard library's light modules only.
"""
