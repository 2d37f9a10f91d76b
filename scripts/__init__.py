"""The workshop: it makes, tests and shows Sundog. Never installed; it imports nothing of Sundog.

The Makefile runs its modules from the checkout's top (`python3 -m scripts.demo`). As root, they
prepare the machine, and drop to an ordinary user for all that Sundog does.
"""
