"""The hospital's agent: it holds the connection to the coordinator and hands messages to a worker process."""
