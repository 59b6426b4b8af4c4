"""The actors: one module each, with a coroutine function of the module's name."""
