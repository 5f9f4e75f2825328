"""Labelling text by hand: which texts to ask for, the answers on disk, and the page that asks."""
