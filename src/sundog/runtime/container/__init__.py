"""The parts of a container: roots, mounts, namespaces, supervision; and a build's step in one.

Floor 0, because ``ch-run`` uses them.  Only builds use ``child``, ``job_control``, ``relay`` and
``step*``; these may import more.
"""
