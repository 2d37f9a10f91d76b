"""The command line of Apptainer, as ``sundog apptainer`` understands it: tables, and translations.

    action_options  the options of ``exec``, ``run``, ``shell`` and ``test``, and their variables
    option_variables
                    the variables that stand for options
    refused         the subcommands that are not there
    line            the scan of a line: options before the subcommand, and $APPTAINER_X
    messages        INFO, WARNING, ERROR and FATAL
    binds           --bind, --mount, --scratch, and what a container shows in any case
    bound_scripts   those that a bind shows
    scripts         the image's scripts of variables, read without a shell
    variables       the environment of the command
    image           the facts of an image that a run needs
    command         the words that run in the container
    plan            a line as a line of ``ch-run``
    site            the settings of a site in apptainer.conf
    links           the entries ``apptainer`` and ``singularity``

Specification: Apptainer's user guide, version 1.4.
"""
