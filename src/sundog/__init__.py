"""Sundog: fully unprivileged containers for HPC.  Imports nothing, so that ch-run starts fast."""

__version__ = "0.1.0"
