"""What the use cases need of backends and servers, as typing protocols, with the exceptions that they may raise."""
