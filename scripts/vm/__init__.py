"""Virtual machines with Debian's own kernel, for what the machine's kernel does not have: NFS."""
