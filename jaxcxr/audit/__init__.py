"""What makes a result doubtful: leaks, copies, and shortcuts to the class."""
