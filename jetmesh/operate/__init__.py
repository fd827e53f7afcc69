"""What an operator uses: the overview, the doctor, dead letters, the archive, backups."""
