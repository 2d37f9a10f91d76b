"""Root emulation, mode ``notify``: a supervisor that remembers every answer that it gave.

A filter (``seccomp.program``) stops the calls in which root differs from an ordinary user, and
those that show the difference.  seccomp(2) hands the calls to a supervisor, which answers from what
it remembers, or lets the kernel answer.

    supervisor  the loop
    handlers/   what answers: one module per family of calls
    state/      what is remembered about files
    identity/   who a process is
    seccomp/    the filter, and the notifications that it makes
    tracee/     what reaches a process whose calls are answered

The mode is not a security boundary: the tracee may do what the user may do.

``ch-run --notify`` loads this package in further joined modules, and other starts don't load it.
So a name means one thing in the whole wing, and modules import only light modules of the standard
library.
"""
