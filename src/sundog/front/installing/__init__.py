"""A directory with this installation for all users of a site: made, moved, removed."""
