"""The workshop: what makes, tests and shows Sundog. Never installed; imports nothing of Sundog.

Run as modules from the checkout's top (`python3 -m scripts.demo`), by the Makefile. They may run
as root: then they prepare the machine, and drop to an ordinary user for all that Sundog does.
"""
