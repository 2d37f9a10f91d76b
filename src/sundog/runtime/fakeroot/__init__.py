"""``sundog-fakeroot`` and ``sundog root``: mock root on the user's own directories.

There is no image: the command sees the host's own root file system, in a user namespace, beside a
supervisor (``emulation.notify``).  Records are in memory, or in a state file of fakeroot(1).
"""
