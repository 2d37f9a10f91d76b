"""Tests of ``runtime.process``."""
