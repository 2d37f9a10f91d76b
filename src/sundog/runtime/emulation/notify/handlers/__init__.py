"""One module per family of system calls; each has one class whose ``calls`` names its handlers.

A handler gets the caller's thread ID and the call's arguments, and returns the call's result, a
negated errno, or CONTINUE.  It raises an exception if something else goes wrong: the caller died, a
pointer is bad, the file is missing.  The supervisor then leaves the call to the kernel, which
reports the same.
"""
