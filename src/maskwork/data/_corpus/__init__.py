"""Text in: files and archives to documents, and a corpus with a validation side."""
