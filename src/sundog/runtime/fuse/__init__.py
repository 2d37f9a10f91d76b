"""A file system in this user's own processes: the protocol of /dev/fuse, and a server."""
