"""The command line of podman(1), as ``sundog`` understands it: tables, and pure translations.

    run_options    the options of ``run`` and ``exec``: taken, held, warned of, refused
    volumes        -v, --mount and --tmpfs
    variables      -e, --env-file and what else makes the environment
    users          --user and --userns
    security       --security-opt
    run_line       a line of ``run`` or ``exec`` as a line of ``ch-run``
    image_options  the options of the other subcommands
    image_lines    their lines as lines of ``ch-image``
    refused        the subcommands of podman that ``sundog`` does not have

``sundog run`` starts a container for each job of a workflow.  So this room imports nothing that
takes milliseconds.
"""
