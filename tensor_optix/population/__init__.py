"""Population training: several agents learn side by side, and the worst take over from the best now and then."""
