"""ctr-remote and the stargz snapshotter beside Sundog: `make stargz`."""
