"""The controller's framework: Ryu, or os-ken, its maintained fork, which differs in names alone; loaded in the order that works:
its hub first, patched as their own launchers do (without an argument it would patch threads alone), before anything that uses a
socket.

It is Ryu where `ryu-manager` has started us, or where INSITU_CONTROLLER says so.
"""

import os
import sys

NAME = os.environ.get("INSITU_CONTROLLER") or ("ryu" if "ryu.lib.hub" in sys.modules else "os-ken")

os.environ.setdefault("OSKEN_HUB_TYPE", "eventlet")  # the native hub ends silently when a switch disconnects
os.environ.setdefault(
    "EVENTLET_NO_GREENDNS", "yes"
)  # nobody looks up names here; it is a third of the time of all imports

if "ryu.lib.hub" not in sys.modules:  # else it may have begun already
    import eventlet

    from controller.exact_hub import ExactHub

    eventlet.hubs.use_hub(ExactHub)

if NAME == "ryu":
    from ryu.lib import hub

    hub.patch(thread=False)

    from ryu import cfg
    from ryu.base import app_manager
    from ryu.controller import controller as _  # noqa: F401 - its options
    from ryu.controller import handler, ofp_event
    from ryu.ofproto import ofproto_v1_3

    App = app_manager.RyuApp
else:
    from os_ken.lib import hub

    hub.patch(thread=False)

    from os_ken import cfg
    from os_ken.base import app_manager
    from os_ken.controller import controller as _  # noqa: F401 - its options
    from os_ken.controller import handler, ofp_event
    from os_ken.ofproto import ofproto_v1_3

    App = app_manager.OSKenApp

CONF = cfg.CONF
_NEVER_S = 10.0**6


def run(module: str, arguments: list[str]) -> None:
    """Runs the application in a module until it is told to stop; what `ryu-manager` does, which os-ken no longer has.

    `arguments` are those of the framework: `--ofp-tcp-listen-port`, `--config-file` …
    """
    CONF(arguments, project="insitu", default_config_files=[])
    # The switches are on this machine: nothing has to be found out by timers, and each of them costs an idle network time
    CONF.socket_timeout = _NEVER_S
    CONF.echo_request_interval = _NEVER_S
    app_manager.AppManager.run_apps([module])


__all__ = ["CONF", "NAME", "App", "app_manager", "cfg", "handler", "hub", "ofp_event", "ofproto_v1_3", "run"]
