"""The fast path: columns in, encoded rows out, kept and replayed."""
