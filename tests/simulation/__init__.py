"""A seeded simulator that runs the plans as they are shipped, against nodes and networks that fail in every way."""
