"""``ch-run --host-mpi``: the host's MPI in place of the image's, at run time.

The image does not change.  ``profile`` says which libraries of the host count, ``host_set`` finds
them and what they need, ``fit`` compares them with the image's, and ``shown`` mounts them.
"""
