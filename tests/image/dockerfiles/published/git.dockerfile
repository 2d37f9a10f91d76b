# A repository that belongs to the account that serves it.
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends passwd git && rm -rf /var/lib/apt/lists/*
RUN useradd -r -m -d /srv/git -s /usr/bin/git-shell git && \
    git init -q --bare /srv/git/project.git && chown -R git:git /srv/git
USER git
WORKDIR /srv/git
RUN git -C project.git config receive.denyNonFastForwards true && git -C project.git rev-parse --is-bare-repository
