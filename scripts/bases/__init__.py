"""Base images, made on the spot from this machine's package sources.

`python3 -m scripts.bases [NAME...]` makes the named images (or all) and prints their paths. Each is
a tarball in the `bases` directory of scripts/place.py, and is made again when its maker changes.
Any user can make them: foreign owners in a tarball come from fakeroot or from Python's tarfile.
"""
