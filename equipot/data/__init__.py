"""Reading, checking and batching of labeled structures."""
