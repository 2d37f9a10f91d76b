"""Attacks by images, registries, archives and neighbours."""
