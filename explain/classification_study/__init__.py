"""The classification experiment of the InterActive paper (section 4.4): class scores before and after weighing."""
