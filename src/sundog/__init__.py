"""Sundog: fully unprivileged containers for HPC."""

__version__ = "0.1.0"
