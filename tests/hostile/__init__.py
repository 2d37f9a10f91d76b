"""What images, registries, archives and neighbours may try."""
