"""What the commands do that is more than one call: each takes a client, and says how far it is."""
