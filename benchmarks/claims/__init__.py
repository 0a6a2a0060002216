"""One module a claim: what is run for it, what that says, and its picture.

Each has ``NAME``, ``CLAIM`` (one sentence), ``measure(bench) -> Told`` and ``draw(content, path)``, which needs nothing
but what stands in the result file.
"""
