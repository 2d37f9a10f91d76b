"""Tests of the room ``apptainer``."""
