"""Read structures and labels from files; reject invalid content."""
