"""What keeps and ends a container: supervisors, groups, init processes, leashes."""
