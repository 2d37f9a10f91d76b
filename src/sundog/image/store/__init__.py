"""The storage directory: layers, images, build cache, garbage collection, snapshot drivers."""
