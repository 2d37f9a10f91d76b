"""The wing that runs containers: root emulation, mounts, processes, ``ch-run``."""
