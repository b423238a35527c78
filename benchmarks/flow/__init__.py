"""What passing through buddyproxy costs: time, requests to the origin, memory.

Origin, proxy and callers are processes of their own, and speak over loopback; the proxy is a `twistd` as anybody would
run it, its store on the disk. Linux only: what a process takes is read from /proc. Rounds alternate between what is
compared, so that what else the machine does hits both.
"""
