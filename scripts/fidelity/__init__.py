"""Check that an install under root emulation leaves the same files as one by real root.

`make fidelity` installs package sets in three ways, as real root in a chroot, with --force=seccomp
and with --force=notify, and compares every path. With --force=notify, no path may differ.
"""
