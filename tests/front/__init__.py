"""Tests of the wing ``front``."""
