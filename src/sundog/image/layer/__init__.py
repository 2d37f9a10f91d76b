"""One layer of an image: tar in, tar out, whiteouts, owners, compression, differences."""
