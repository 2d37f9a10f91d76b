"""Builds: what a Dockerfile's instructions do to an image in the store."""
