"""Tests of the wing ``runtime``."""
