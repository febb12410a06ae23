"""Checks of labeled data: units, references, duplicates, consistency."""
