"""The prompt cache: in memory and on disk, with the reason of every miss. For workers only."""
