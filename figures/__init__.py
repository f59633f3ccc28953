"""Every figure and table of the work, drawn from the floors below."""
