"""What goes over the wire: the only folder of the server, beside its servicers, that knows messages."""
