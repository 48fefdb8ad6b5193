"""For testing agents: a contract check and toy environments whose values are known."""
