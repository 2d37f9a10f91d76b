"""Registries: a client of OCI distribution-spec 1.1, and the ways in which users log in."""
