"""Registries: OCI distribution-spec 1.1 as a client, with the ways in which people log in."""
