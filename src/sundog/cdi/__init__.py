"""The Container Device Interface: what files of a host say about devices; nothing of containers."""
