"""The configuration of a site and of a user: its keys, its files, and which files are believed."""
