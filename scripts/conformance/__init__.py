"""Check whole Dockerfiles: are the images as buildah's, and do they run?

`make conformance` builds each of tests/image/dockerfiles as an ordinary user, runs its checks, and
compares the image with the one that buildah makes as real root.  An empty storage directory takes
all results from a shared cache, and has the same image then.
"""
