"""Images in the formats in which they travel without a registry."""
