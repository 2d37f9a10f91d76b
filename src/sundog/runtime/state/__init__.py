"""The knowledge of containers between two commands."""
