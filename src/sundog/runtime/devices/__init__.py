"""Devices of the host for a container: the edits of CDI as mounts, links and variables.

``cdi`` reads the specifications.  This package makes of them what an unprivileged container can
have.  ``ch-run`` and RUN use it.  The mounts are operations of ``container.plan``.
"""
