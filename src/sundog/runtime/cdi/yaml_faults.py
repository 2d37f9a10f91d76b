"""Errors in YAML."""

from __future__ import annotations


class YamlFault(Exception):
    """The text is not YAML that can be used; the message says why, and where."""


class NoYamlLibrary(Exception):
    """PyYAML is not installed."""
