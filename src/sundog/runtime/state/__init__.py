"""What Sundog knows of containers between two commands."""
