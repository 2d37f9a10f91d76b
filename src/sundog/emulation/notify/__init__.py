"""Root emulation, mode ``notify``: a supervisor that remembers every answer it gave.

The filter of ``program`` stops the calls in which root differs from an ordinary user, and those
that show the difference; seccomp(2) hands them to a supervisor (``supervisor``), which answers from
what it remembers, or lets the kernel answer.

    abi          numbers and layouts of one architecture
    program      the BPF program: which calls are notified
    exchange     receive and reply, at little cost
    listener     seccomp(2)'s user notification: install, receive, reply
    memory       read and write the tracee's memory
    files        the supervisor's own view of a file
    paths        the name in a call → a location the supervisor can use
    records      inode → what real root would have made of it
    nursery      keeps young inodes, so that their numbers mean them
    watches      tell which inodes are gone
    pins         keep the numbers of what an overlay copied up
    acl          POSIX access control lists
    capabilities, credentials, tags
                 who a process thinks it is; the kernel carries that per process
    handlers/    one module per family of calls
    supervisor   the loop
    persist      records ↔ the owners manifests of layers

Not a security boundary: the tracee may do what the user may do.  Loaded only in this mode: not part
of ``ch-run``'s joined module, but of the one that is added to it.  So the rules of floor 0 hold: a
name means one thing, and only light modules of the standard library are imported.
"""
