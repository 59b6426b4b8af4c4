"""Wake-ups between the processes of one host."""
