"""Root emulation for the containers of other runtimes: an agent of seccomp's notifications.

A runtime of the OCI (crun, runc, podman) builds the filter from a profile that this package makes.
It sends the filter's listener to a socket, with the state of the container.  The agent gives each
container a supervisor, a process of its own.

Specification: runtime-spec, config-linux.md ("Seccomp", "The Container Process State").
"""
