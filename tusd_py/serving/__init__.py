"""The program around the application: sockets, the uvicorn server, worker processes. It knows no tus."""
