"""Builds: carry out a Dockerfile's instructions on an image in the store."""
