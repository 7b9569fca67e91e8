"""The tables of the documents, by subject; ``table.py`` puts them where they belong."""
