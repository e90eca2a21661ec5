"""Tables, their versions, and the transactions that make new ones."""
