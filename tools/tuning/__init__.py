"""Parts of ``tools/tune_tracker.py``: what is measured, and how settings are searched."""
