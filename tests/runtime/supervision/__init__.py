"""Tests of ``runtime.supervision``."""
