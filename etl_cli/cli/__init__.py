"""Typer apps: parse, call one function, print."""

import os

# nobody's plugins are wanted, and looking for them reads the metadata of every package that is installed
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
