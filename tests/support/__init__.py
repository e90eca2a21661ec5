"""What several tests share: a database of their own, plans, catalogues, and a way to make rows visible."""
