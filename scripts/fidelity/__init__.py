"""Check that an install under root emulation leaves the same files as one by real root.

`make fidelity` installs package sets in four ways, as real root in a chroot and with each --force
that emulates root, and compares every path. With --force=notify, no path may differ.
"""
