"""Every figure and table of the work, drawn from the floors below."""

import shared.start  # noqa: F401
