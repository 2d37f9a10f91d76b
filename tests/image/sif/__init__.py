"""Tests of the room sif."""
