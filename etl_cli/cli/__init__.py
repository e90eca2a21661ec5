"""Typer apps: parse, call one function, print."""
