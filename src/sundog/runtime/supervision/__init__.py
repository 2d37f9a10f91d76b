"""Processes that keep and end a container: supervisors, groups, init processes, leashes."""
