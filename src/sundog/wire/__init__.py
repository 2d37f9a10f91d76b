"""What Sundog's own processes tell each other: plain values and errors, as bytes.

Reading executes nothing and makes nothing but plain values and errors of known classes, so that a
process which an image has taken over cannot make another one run code.

Floor 0.
"""
