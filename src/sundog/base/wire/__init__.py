"""What Sundog's own processes tell each other: plain values and errors, as bytes.

Reading executes nothing.  It makes only plain values and errors of known classes, so a process that
an image has taken over cannot make another process run code.
"""
