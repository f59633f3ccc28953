"""Distribution matching: mean features of each class at random networks (DM)."""
