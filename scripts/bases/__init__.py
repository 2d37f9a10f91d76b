"""Base images, made on the spot from the package sources that this machine has.

`python3 -m scripts.bases [NAME...]` makes those named (or all) and prints their paths. Each is a
tarball in the `bases` directory of scripts/place.py, made again when its maker changes. Any user
can make them: where owners other than his own are needed, the tarballs get them from fakeroot or
from Python's tarfile.
"""
