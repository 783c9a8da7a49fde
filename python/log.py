# coding: utf-8
"""`import log`, as some packages write it; see model_service/log.py."""
from model_service.log import *  # noqa: F401,F403
from model_service.log import getLogger  # noqa: F401
