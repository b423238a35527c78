"""What `twistd` and `twist` find: that there is a `buddyproxy`, and which module makes it.

Every `twistd --help` imports this file, so it holds strings only; `buddyproxy.tap` is imported when it is asked for.
"""

from twisted.application.service import ServiceMaker

buddyproxy = ServiceMaker(
    "buddyproxy",
    "buddyproxy.tap",
    "A caching reverse proxy for the HTTP APIs a program pays for",
    "buddyproxy",
)
