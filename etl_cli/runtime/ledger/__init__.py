"""The ledger: schema `etl` in the sink, which knows every run, task and chunk."""
