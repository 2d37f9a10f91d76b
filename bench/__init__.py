"""Benchmarks: Sundog beside its peers, in one run, on one machine. Started by `make bench`."""
