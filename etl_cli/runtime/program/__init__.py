"""What a pipeline's etl.py declares beside its tables, and how rows pass through it."""
