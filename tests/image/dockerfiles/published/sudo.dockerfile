# An image to work in: a user who may become root.
FROM debian
ARG USERNAME=dev
RUN apt-get update && apt-get install -y --no-install-recommends sudo passwd && \
    useradd -m -s /bin/bash $USERNAME && \
    echo "$USERNAME ALL=(root) NOPASSWD:ALL" >/etc/sudoers.d/$USERNAME && chmod 0440 /etc/sudoers.d/$USERNAME
USER $USERNAME
WORKDIR /home/$USERNAME
RUN sudo touch /etc/by-root && mkdir -p bin && echo 'export PATH=$HOME/bin:$PATH' >>~/.bashrc
RUN [ "$(id -un)" = dev ] && [ -f /home/dev/.bashrc ] && grep -q HOME/bin /home/dev/.bashrc && [ ! -O /etc/by-root ]
