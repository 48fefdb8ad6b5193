"""Ready-made callbacks; each imports its library only when it is used."""
