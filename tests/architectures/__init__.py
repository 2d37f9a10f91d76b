"""Images of other architectures as a whole, which take minutes: `make architectures`."""
