"""A service with an HTTP edge: docs/authors/http.md shows its files."""
