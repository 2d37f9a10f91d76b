"""Do whole Dockerfiles give what they give elsewhere, and does the result run?

`make conformance` builds each of tests/dockerfiles as an ordinary user, runs its checks, and
compares the image with the one that buildah makes as real root.
"""
