"""Tables of text in files and streams, read and written row by row: CSV, TSV, JSON Lines, Parquet."""
