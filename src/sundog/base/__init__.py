"""The lowest wing: the kernel, formats on disk, messages between processes."""
