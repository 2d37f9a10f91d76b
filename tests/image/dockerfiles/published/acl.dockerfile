# A directory for a group, with default entries.
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends acl passwd && rm -rf /var/lib/apt/lists/* && \
    groupadd -r -g 990 project && useradd -r -u 990 -g project project
RUN mkdir -p /srv/project && setfacl -R -m u:project:rwX -d -m g:project:rwX /srv/project && \
    getfacl -p /srv/project | grep user:project:rwx
