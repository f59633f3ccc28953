"""Trajectory matching: MTT, FTD, TESLA and DATM as settings of one exact engine at constant activation memory."""
