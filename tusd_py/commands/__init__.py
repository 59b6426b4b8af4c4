"""The commands of ``tusd-py``, one per module; the other modules are shared by them.

A module of a command imports the settings and everything above them inside its functions: the help of a command must
not wait for the server's libraries, which take over a second to load.
"""
