"""One thin function per system call, and the kernel's constants.  No policy.

Part of ``ch-run``, so the standard library's light modules only.
"""
