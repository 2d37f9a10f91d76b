"""The subcommands of podman and docker that ``sundog`` does not have, and what to do instead."""

from __future__ import annotations

_NETWORK = "containers have the host's network"

# Name: (why, hint).
REFUSED = {
    "attach": ("nothing stands between a command and its streams", "sundog logs, sundog exec"),
    "compose": ("services are not started here", "start each with sundog run --detach"),
    "events": ("no daemon sends any", "sundog ps"),
    "export": ("an image becomes a tar of its files by another command",
               "ch-convert IMAGE FILE.tar"),
    "kube": ("there are no pods", "start each container with sundog run"),
    "machine": ("containers run on this machine", "sundog run"),
    "mount": ("images are mounted by ch-run only", "ch-convert IMAGE DIR"),
    "network": (_NETWORK, "leave it out"),
    "pause": ("the kernel can stop processes", "sundog kill --signal STOP NAME"),
    "pod": ("there are no pods", "ch-run --join shares one container"),
    "port": (_NETWORK, "ports are the host's own"),
    "rename": ("a container keeps its name", "start it with another --name"),
    "search": ("registries have no common search", "use the registry's web page"),
    "secret": ("secrets are files and variables", "sundog build --secret id=ID,src=FILE"),
    "stats": ("processes of containers are your own", "top -u $USER"),
    "swarm": ("the batch system places jobs", "srun sundog run …"),
    "unpause": ("the kernel can continue processes", "sundog kill --signal CONT NAME"),
    "update": ("limits are those of the job", "ask the batch system"),
    "volume": ("a volume is a directory", "make one, and bind it: sundog run -v ./DIR:DST"),
}  # fmt: skip
