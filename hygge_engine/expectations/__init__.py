"""What has to be true of rows before they become visible."""
