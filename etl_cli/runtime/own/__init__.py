"""Sources and writers that etl.py declares itself, at work: an API page by page, a file, a queue."""
