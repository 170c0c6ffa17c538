"""Faults and redundant links: what a scenario says becomes what the plan has."""

from builders import planned


def test_faults_are_in_the_order_of_their_times_and_what_comes_back_does_so_first() -> None:
    faults = [
        {"switch": "square", "at": "4 s"},
        {"link": "square-link", "at": "1 s", "for": "3 s"},
        {"controller": "down", "at": "2 s", "for": "500 ms"},
    ]
    plan = planned(faults=faults)
    assert [(f.time_ns // 10**6, f.kind, f.name, f.up) for f in plan.faults] == [
        (1000, "link", "square-link", False),
        (2000, "controller", "controller", False),
        (2500, "controller", "controller", True),
        (4000, "link", "square-link", True),
        (4000, "switch", "square", False),
    ]


def test_a_link_of_the_users_own_is_a_link_between_two_switches_and_leaves_the_others_as_they_are() -> None:
    two = {"gnbs": [{"name": "square"}, {"name": "quad"}]}
    link = {"from": "square", "to": "quad", "rate": "1 Gbit/s", "delay": "2 ms", "up": {"delay": "3 ms"}}
    without, made = planned(network=two), planned(network=two | {"links": [link]})
    (added,) = [link for link in made.links if link.name not in {link.name for link in without.links}]
    assert added.name == "square-quad"
    assert [(end.node, end.shape.delay_ns) for end in added.ends] == [("square", 3_000_000), ("quad", 2_000_000)]
    seeds = {(link.name, end.node): end.seed for link in made.links for end in link.ends}
    assert all(seeds[link.name, end.node] == end.seed for link in without.links for end in link.ends)
