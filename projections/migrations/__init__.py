"""Numbered SQL files for the tables of views, one folder an engine."""
