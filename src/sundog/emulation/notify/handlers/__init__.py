"""One module per family of system calls; each has one class whose ``calls`` names its handlers.

A handler gets the caller's thread ID and the call's arguments, and returns the call's result, a
negated errno, or CONTINUE.  Whatever else goes wrong in it (the caller died, a pointer is bad, the
file is not there) is an exception, and leaves the call to the kernel, which will say the same.
"""
