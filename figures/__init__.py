"""Every figure and table of the work, drawn from the floors below."""

import shared.terminal.start  # noqa: F401
