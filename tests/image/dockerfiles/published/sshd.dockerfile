# A server for logins; its configuration is tried before the image is done.
FROM debian
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openssh-server && \
    rm -rf /var/lib/apt/lists/*
RUN mkdir -p /run/sshd && echo 'root:screencast' | chpasswd && \
    sed -i 's/#PermitRootLogin prohibit-password/PermitRootLogin yes/' /etc/ssh/sshd_config
RUN useradd -m -s /bin/bash dev && mkdir -m 700 /home/dev/.ssh && \
    ssh-keygen -q -t ed25519 -N '' -f /home/dev/.ssh/id_ed25519 && chown -R dev:dev /home/dev/.ssh
RUN /usr/sbin/sshd -t
EXPOSE 22
CMD ["/usr/sbin/sshd", "-D"]
