"""Checks of this machine, with causes and remedies: ``ch-checkns`` and ``ch-test``."""
