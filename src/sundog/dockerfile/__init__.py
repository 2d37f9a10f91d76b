"""Dockerfiles: text to instructions.  No I/O, no meaning: ``build/`` gives them that."""
