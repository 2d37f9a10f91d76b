# Jobs of a user, by a set-id program.
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends passwd cron && rm -rf /var/lib/apt/lists/* && \
    useradd -m worker
COPY <<'TAB' /tmp/tab
*/5 * * * * /usr/local/bin/work
TAB
RUN crontab -u worker /tmp/tab && rm /tmp/tab && stat -c %U:%G /var/spool/cron/crontabs/worker | grep worker:crontab
CMD ["cron", "-f"]
