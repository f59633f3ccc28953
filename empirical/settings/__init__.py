"""What may be typed, and what each setting counts for.

`settings` and `trajectory` hold the typed and resolved settings, each field with its role (`roles`); `identity` says
which of them make two runs the same; `presets` and `trajectory_presets` hold published and small values as data.
"""
