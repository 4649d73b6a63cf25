"""From a number in a table back to the commit, command and data that it came from."""
