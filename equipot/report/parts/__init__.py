"""Parts of HTML pages: markup, tables, plots, pictures of structures."""
