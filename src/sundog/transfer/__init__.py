"""How layers come and go: fetched, unpacked as they come in, imported, packed, described."""
