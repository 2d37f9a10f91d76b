"""Run commands in an image: RUN, its mounts, and the changes to its commands."""
