# A cluster that exists in the image, with a role and a database of its own.
FROM debian
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*
USER postgres
RUN --network=none pg_ctlcluster 17 main start && \
    psql --command "CREATE USER app WITH SUPERUSER PASSWORD 'app';" && \
    createdb -O app app && \
    pg_ctlcluster 17 main stop
RUN echo "host all all 0.0.0.0/0 md5" >>/etc/postgresql/17/main/pg_hba.conf
EXPOSE 5432
CMD ["/usr/lib/postgresql/17/bin/postgres", "-D", "/var/lib/postgresql/17/main"]
