# Directories that are checked when they are made.
FROM alpine
RUN addgroup -S -g 982 www && adduser -S -D -H -u 982 -G www www && \
    install -d -o www -g www -m 2750 /var/www/data && \
    test "$(stat -c '%U:%G %a' /var/www/data)" = 'www:www 2750'
USER www
CMD ["ls", "/var/www/data"]
