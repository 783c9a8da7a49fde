# coding: utf-8
"""The logger of model packages: `log.getLogger(__name__)` is a standard `logging.Logger`.

Three spellings are in use and all of them end here: `from model_service import log`,
`import model_service.log as log` and the top-level `import log`.
"""
import logging
from logging import *  # noqa: F401,F403  scripts call log.info(...), log.DEBUG and the like
from logging import getLogger  # noqa: F401

__all__ = list(logging.__all__)
