"""Pictures of records: a record in, a figure out."""
