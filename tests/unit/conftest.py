"""Tests that are coroutines run on the loop that the services run on."""

import asyncio
import inspect

import pytest

from edge_nodes import clock

LIMIT_S = 30.0  # of one test


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    with asyncio.Runner(loop_factory=clock.event_loop) as runner:
        runner.run(asyncio.wait_for(test, LIMIT_S))
    return True
