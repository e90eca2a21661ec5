"""The process behind a pipeline's systemd unit: it owns the clock, and runs each attempt in a child."""
