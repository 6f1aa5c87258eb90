"""The answers to the page's requests; nothing here imports a web server."""
