"""Processes: making one, watching it, its terminal, its signals, and the last execve."""
