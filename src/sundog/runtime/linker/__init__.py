"""What the dynamic linker of a container finds: shared objects, and the cache of their places."""
