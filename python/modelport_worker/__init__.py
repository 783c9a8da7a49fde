"""The worker: a plain loop that runs a package's service class for the Node front (src/modelserver)."""
