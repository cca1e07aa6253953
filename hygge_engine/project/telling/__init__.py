"""What is wrong with a project's files, in the words of those who write them."""
