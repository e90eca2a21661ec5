"""The same shards, sink and pipelines as the copying tests."""

from tests.integration.copy.conftest import pipeline, shards, source_servers

__all__ = ["pipeline", "shards", "source_servers"]
