"""See mxnet_model_service.py."""
