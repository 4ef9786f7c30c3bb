"""What joins the apps' halves of /api/: addresses, how bodies are read, and how faults are told."""
