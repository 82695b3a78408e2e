"""What a request costs in the gateway: CPU and throughput, filter by filter, beside what a user would pick instead.

`python -m bench` runs it. A benchmark, not a test: nothing here decides whether a change is right.
"""
