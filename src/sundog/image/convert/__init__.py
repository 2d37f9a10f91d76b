"""Images in the formats that travel without a registry: archives and layouts."""
