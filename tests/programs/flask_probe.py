"""The behaviour suite's Flask application, for a server in a process of its own. POOL names the memcached servers."""

import os

from tests.behaviour.adapters import InFlask

app = InFlask(os.environ["POOL"]).flask
