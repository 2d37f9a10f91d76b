"""How layers enter and leave the store: fetch, unpacking on arrival, import, packing, documents."""
