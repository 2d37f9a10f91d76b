"""The on-disk formats that ``ch-run`` must read: image names, image stacks, owners manifests."""
