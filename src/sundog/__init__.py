"""Sundog: fully unprivileged containers for HPC."""

__version__ = "1.0.0"
