"""seccomp(2): which calls the kernel notifies, and how the supervisor hears of them and replies.

program   the BPF program: which calls are notified
listener  user notifications: install, receive, reply
exchange  the buffer of receive and reply, at little cost
trial     whether a supervisor can work here
"""
