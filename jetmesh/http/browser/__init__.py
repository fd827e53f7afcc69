"""Pages in a browser: the files that they load, and what the browser is told to refuse."""
