# A database that the service makes at build time.
FROM debian
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends mariadb-server && rm -rf /var/lib/apt/lists/*
RUN mkdir -p /run/mysqld && chown mysql:mysql /run/mysqld && \
    (mariadbd --user=mysql --skip-networking & ) && \
    for i in $(seq 60); do mariadb-admin ping && break; sleep 1; done && \
    mariadb -e "CREATE DATABASE shop; GRANT ALL ON shop.* TO 'shop'@'%' IDENTIFIED BY 'x';" && \
    mariadb-admin shutdown
RUN stat -c %U /var/lib/mysql/shop | grep -qx mysql
CMD ["mariadbd", "--user=mysql"]
