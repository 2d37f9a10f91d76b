"""A build cache that several stores share: its entries, their places, what a build takes of it."""
