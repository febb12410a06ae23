"""Reading, checking and batching of labelled structures."""
