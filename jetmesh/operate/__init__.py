"""What an operator reads and does: the overview, the doctor, dead letters, archives, backups."""
