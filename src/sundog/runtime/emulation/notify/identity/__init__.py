"""Credentials and permissions of processes: values and rules, and the table of identities.

capabilities  capability sets, and those that a program file grants
credentials   user and group IDs and capabilities, and the calls that change them
permissions   who may change an owner or a mode
tags          which credentials each process has
"""
