"""The only door to the disk: names, arrays and JSON; nothing of the loop is known here."""
