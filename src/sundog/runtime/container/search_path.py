"""The search path of a command whose image sets none.

No specification says it, but every engine has this one.
"""

from __future__ import annotations

ENGINE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
