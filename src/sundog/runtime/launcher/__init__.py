"""``ch-run``: options, the image, the plan of mounts, the environment, and the final execve(2).

It imports only light modules of the standard library, because every MPI rank starts a ``ch-run``.
"""
