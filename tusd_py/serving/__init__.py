"""The program around the application: sockets, the uvicorn server and its processes. It knows nothing about tus."""
