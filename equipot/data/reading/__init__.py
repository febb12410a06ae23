"""Structures and labels from files, each format read or refused."""
