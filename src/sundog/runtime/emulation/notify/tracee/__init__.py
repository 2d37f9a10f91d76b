"""Access to a tracee: a process whose calls the supervisor answers.

call         a call's arguments and its answer
abi          numbers and layouts of one architecture
memory       read and write the tracee's memory
paths        the name in a call → a location that the supervisor can use
descriptors  duplicates of the tracee's descriptors, and what proc(5) says of it
tag          the number that the kernel carries for each process
"""
