"""Answers in, files out: what `etl-cli generate` writes."""
