"""One file per verb: what the command line, a service or a notebook calls."""
