"""os-ken, Ryu's maintained fork, loaded in the order that works: its hub first, patched, before anything that uses a socket."""

import os

os.environ.setdefault("OSKEN_HUB_TYPE", "eventlet")  # the native hub ends silently when a switch disconnects
os.environ.setdefault(
    "EVENTLET_NO_GREENDNS", "yes"
)  # nobody looks up names here; it is a third of the time of all imports

from os_ken.lib import hub  # noqa: E402

hub.patch()

from os_ken.base import app_manager  # noqa: E402
from os_ken.controller import controller as _controller  # noqa: E402
from os_ken.controller import handler, ofp_event  # noqa: E402
from os_ken.ofproto import ofproto_v1_3  # noqa: E402

_NEVER_S = 10.0**6


def run(module: str, openflow_port: int) -> None:
    """Runs the application in a module until it is told to stop."""
    _controller.CONF([], project="os_ken")
    _controller.CONF.ofp_listen_host = "127.0.0.1"
    _controller.CONF.ofp_tcp_listen_port = openflow_port
    # The switches are on this machine: nothing has to be found out by timers, and each of them costs an idle network time
    _controller.CONF.socket_timeout = _NEVER_S
    _controller.CONF.echo_request_interval = _NEVER_S
    app_manager.AppManager.run_apps([module])


__all__ = ["app_manager", "handler", "hub", "ofp_event", "ofproto_v1_3", "run"]
