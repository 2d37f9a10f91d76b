"""The wing that runs containers: root emulation, mounts, the parts of ``ch-run``."""
