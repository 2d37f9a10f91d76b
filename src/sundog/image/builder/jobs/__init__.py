"""Stages side by side: each that has to be made is a process, and its output waits for its turn."""
