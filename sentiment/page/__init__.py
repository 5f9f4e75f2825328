"""Self-contained pages for people: no script, no outside asset, light and dark, readable for years."""
