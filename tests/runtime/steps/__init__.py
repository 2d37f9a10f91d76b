"""Tests of ``runtime.steps``."""
