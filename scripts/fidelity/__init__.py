"""Does an install under root emulation leave what real root would have left?

`make fidelity` installs package sets three ways, as real root in a chroot, with --force=seccomp and
with --force=notify, and compares every path. The last has to differ in none.
"""
