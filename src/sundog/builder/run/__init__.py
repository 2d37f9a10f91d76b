"""What runs commands in an image: RUN, its mounts, and what is put into its commands."""
