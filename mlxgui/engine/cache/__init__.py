"""The prompt cache: in memory and on disk, with the reason of every miss. Runs in the worker only."""
