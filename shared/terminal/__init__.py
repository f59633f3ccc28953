"""How commands speak and end: arguments, progress, streams, files written whole."""
