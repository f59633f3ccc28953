"""Run records on disk, their vocabulary, the one reader of run folders, and whether runs agree."""
