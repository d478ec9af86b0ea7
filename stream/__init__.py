"""Live audio. Without a handler of its own, the log is silent: ``classify`` says what went wrong in its own words."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
