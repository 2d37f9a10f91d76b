# Nothing but mounts: the base image has rpm, dnf, zypper and a repository. $1 is the tree.
cd "$1"
rm -rf var/cache/dnf
