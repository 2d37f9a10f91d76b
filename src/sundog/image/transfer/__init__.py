"""Ways of layers into and out of the store: fetch, unpacking, import, packing, documents."""
