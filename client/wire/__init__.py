"""What goes over the wire: the only folder of the client that knows messages."""
