"""The commands: one module each, and the only place that prints and exits."""
