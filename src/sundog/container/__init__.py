"""What a container is made of: roots, mounts, namespaces, supervision; and a build's step in one.

Floor 0, because ``ch-run`` is made of it.  ``child``, ``job_control``, ``relay`` and ``step*`` are
for builds alone, and may import more.
"""
