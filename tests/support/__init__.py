"""What several test folders share: starting the server as a process, clients and faults. No tests here."""
