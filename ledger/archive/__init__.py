"""Portable archives of a log: written while others append, read like a log, restored anywhere.

The format is told byte by byte in `docs/reference/archive-format.md`.
"""
