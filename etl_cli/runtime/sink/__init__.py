"""The Postgres that is written: connecting, looking at a target, creating and replacing it."""
