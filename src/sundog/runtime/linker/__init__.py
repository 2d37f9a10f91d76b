"""The dynamic linker's view of a container: shared objects, and the cache of their places."""
