# A web server that never is root.
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends passwd nginx-light && rm -rf /var/lib/apt/lists/* && \
    groupadd --system --gid 101 nginx && useradd --system --gid nginx --no-create-home --uid 101 nginx && \
    sed -i -e '/^user/d' -e 's,^pid .*,pid /tmp/nginx.pid;,' /etc/nginx/nginx.conf && \
    sed -i 's/listen \(.*\)80 default_server/listen \18080 default_server/' /etc/nginx/sites-available/default && \
    mkdir -p /var/cache/nginx && chown -R 101:0 /var/cache/nginx /var/log/nginx /var/lib/nginx && \
    chmod -R g+w /var/cache/nginx && ln -sf /dev/stderr /var/log/nginx/error.log
USER 101
RUN nginx -t
EXPOSE 8080
CMD ["nginx", "-g", "daemon off;"]
