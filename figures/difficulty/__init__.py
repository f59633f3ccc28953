"""`python -m figures difficulty`: which real samples are hard, and which ones matching leans on."""
