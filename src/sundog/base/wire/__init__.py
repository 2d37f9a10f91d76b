"""Messages between Sundog's own processes: plain values and errors, as bytes.

Reading executes nothing.  It makes only plain values and errors of known classes, so a process that
an image has taken over cannot make another process run code.
"""
