# Files of the context, for an application that checks its own.
FROM alpine
RUN addgroup -g 8983 solr && adduser -D -u 8983 -G solr solr
COPY --chown=solr:solr <<'CONF' /opt/solr/conf
port=8983
CONF
RUN mkdir -p /var/solr/data && cp -p /opt/solr/conf /var/solr/data/conf && chown -R solr:solr /var/solr
USER solr
RUN test -O /var/solr/data/conf && echo more >>/var/solr/data/conf
