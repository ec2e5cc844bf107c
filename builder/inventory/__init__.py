"""What is in a finished image: packages, their licences and origins, and where the bytes went."""
