"""What bends the code of others, one file each, with the reason at its head."""
