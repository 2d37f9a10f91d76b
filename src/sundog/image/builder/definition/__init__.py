"""Build definition files of Apptainer: their sections as instructions of the builder.

plan          a definition as instructions; pure
agents        Bootstrap: where a stage starts
instructions  the instructions
additions     the step that writes small files: scripts, labels, texts
finish        /.singularity.d at the end of a stage
apps          apps of the Scientific Filesystem
host_files    %files: files of the host, and where they go
host_command  the step that runs a command of the host, with the tree at a place
"""
