"""
What every token pays: aichat against its peers, and against the floor.

``python -m benchmarks --help`` says what there is to measure. Each contestant is a process of
its own, in an environment of its own where it is somebody else's; one server, on a core of
its own where there is one, answers all of them with the same bytes. The floor is what nobody
who uses aiohttp can do without: read, split, ``orjson.loads``.
"""
