"""Simulated drives with exact ground truth."""
