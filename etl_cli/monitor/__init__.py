"""All pipelines of a host at once: how each is, what changed since the last look, and who is told."""
