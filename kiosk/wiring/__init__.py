"""Where the parts of each process are put together. Only __main__ and the demo import this."""
