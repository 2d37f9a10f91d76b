"""The parts of a container: roots, mounts, namespaces, variables, and the command."""
