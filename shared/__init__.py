"""What links a predicted curve with a measured trend."""
