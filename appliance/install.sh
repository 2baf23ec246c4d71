#!/bin/sh
# install.sh CONFIGURATION FOLDER - the last step of `meson install`: what is no plain copy.
#
# A configuration that is there already stays. On the machine itself (no DESTDIR) the user that the
# recorder drops to is made, and systemd is told of the unit.
set -eu

configuration=$1
folder=${DESTDIR:-}$2

if [ ! -e "$folder/tapedeck.conf" ]; then
    install -D -m 644 "$configuration" "$folder/tapedeck.conf"
fi
if [ -n "${DESTDIR:-}" ] || [ "$(id -u)" != 0 ]; then
    exit 0
fi
if ! getent passwd tapedeck >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/tapedeck --no-create-home \
        --shell /usr/sbin/nologin --comment "Tapedeck packet recorder" tapedeck
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
