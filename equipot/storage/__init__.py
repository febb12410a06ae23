"""Files that survive a crash: atomic writes, checksums, rotating states."""
