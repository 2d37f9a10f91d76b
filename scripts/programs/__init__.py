"""Check that programs see under root emulation what real root shows them.

`make fidelity-programs` runs each row, a shell script of rows/, as real root in a chroot and under
`ch-run -W --notify` as an ordinary user, in the same image. It compares what the script prints, its
exit status, and what it makes.
"""
