"""The pictures of the documentation, drawn from Sundog's own tables."""
