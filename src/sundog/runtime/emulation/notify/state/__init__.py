"""The supervisor's memory of one container's files.

files       the supervisor's own view of a file
records     inode → what real root would have made of it
nursery     keeps young inodes, so that their numbers mean them
watches     tell which inodes are gone
pins        keep the numbers of what an overlay copied up
state       all that the handlers share
chmod       change a mode: on the inode, or in its record
acl         POSIX access control lists
attributes  extended attributes: on the inode, or in its record
creation    what a new inode gets
persist     records ↔ the owners manifests of layers
"""
