"""A small T-SQL engine: text to tree, tree to rows."""
