"""Files of Apptainer: what a SIF is made of, and what it says about its image.

metadata    what an image says about itself, as the files below /.singularity.d
texts       the scripts among them
writer      the header and the descriptors of a SIF
inspection  the files below /.singularity.d, read again: ``inspect``
reader      the header and the descriptors of a stranger's SIF
listing     how these are shown
editing     a SIF without one of its objects
"""
