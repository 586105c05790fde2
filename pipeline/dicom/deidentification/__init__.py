"""What identifies a patient, taken out of files."""
