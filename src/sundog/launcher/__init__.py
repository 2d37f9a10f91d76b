"""``ch-run``: options, the image, the plan of mounts, the environment, and the exec that ends it.

Floor 0: the standard library's light modules only, because every MPI rank starts one.
"""
