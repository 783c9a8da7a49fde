"""The names of multi-model-server that MXNet packages import."""
