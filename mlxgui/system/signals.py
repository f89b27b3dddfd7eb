from django.dispatch import Signal

setting_changed = Signal()
"""A setting has a new value: `key`, `value`. What runs on settings connects to it."""
