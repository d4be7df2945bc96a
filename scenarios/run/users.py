"""The number of users: at the start, and while a shape changes it."""

from typing import TYPE_CHECKING

import gevent

from scenarios.run.load import Load

if TYPE_CHECKING:
    from scenarios.gateway.load_shape import LoadShape

LOOK_EVERY_S = 1.0
_BEGIN_S = 0.1


def first(shape: "LoadShape | None", users: int) -> int:
    """The initial number of users."""
    if shape is None:
        return users
    shape.users = users
    shape.reset_time()
    return shape.tick()[0]


def follow(shape: "LoadShape", load: Load) -> None:
    """In a closed loop, start and stop users to follow the shape. (An open loop multiplies its rate by the factor.)"""
    while not load.users():  # Locust starts the first users
        gevent.sleep(_BEGIN_S)
    shape.reset_time()
    while True:
        users, spawn_rate = shape.tick()
        if users != load.target_users():
            load.scale(users, spawn_rate)
        gevent.sleep(LOOK_EVERY_S)
