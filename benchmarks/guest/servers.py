"""Servers in namespaces of their own, listening when the call returns."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linux import namespace

NGINX_PORT = 8000
_NGINX = """
worker_processes 1;
daemon off;
pid /run/nginx.pid;
error_log /run/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; default_type application/octet-stream; send_timeout 1h;
  client_body_temp_path /run/nginx-body; proxy_temp_path /run/nginx-proxy; fastcgi_temp_path /run/nginx-fastcgi;
  uwsgi_temp_path /run/nginx-uwsgi; scgi_temp_path /run/nginx-scgi;
  server {{ listen {port}; root {root}; }}
}}
"""
_READY = 3  # the descriptor on which a server says so


def fork(host: str, body: Callable[..., None], *arguments: Any) -> int:
    """A process in a host's namespace; `body` calls `ready`."""
    told, child_tells = os.pipe()
    child = os.fork()
    if child == 0:
        namespace.enter(host)
        os.dup2(child_tells, _READY)
        body(*arguments)
        os._exit(0)
    os.close(child_tells)
    os.read(told, 1)
    os.close(told)
    return child


def ready() -> None:
    os.write(_READY, b"r")


def nginx(host: str, root: Path) -> int:
    """nginx with the files of a folder."""
    return fork(host, _run_nginx, root)


def _run_nginx(root: Path) -> None:
    file = Path("/run/nginx.conf")
    file.write_text(_NGINX.format(port=NGINX_PORT, root=root))
    if os.fork() == 0:
        while socket.socket().connect_ex(("127.0.0.1", NGINX_PORT)):
            time.sleep(0.01)
        ready()
        os._exit(0)
    os.execvp("nginx", ["nginx", "-c", str(file)])
