"""Parts of HTML pages: numbers, tables, figures, pictures of structures."""
