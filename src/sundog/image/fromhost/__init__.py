"""``ch-fromhost``: put files of the host into the directory of an image, all of them or none."""
