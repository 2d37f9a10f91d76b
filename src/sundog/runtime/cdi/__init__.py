"""The Container Device Interface: what files of a host say about its devices."""
