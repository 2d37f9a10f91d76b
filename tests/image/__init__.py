"""Tests of the wing ``image``."""
