"""Commands that Sundog runs in a container for its own work."""
