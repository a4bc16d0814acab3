#!/bin/sh
# Makes an image trust what the host trusts: adds each certificate of the host's bundle ($1) that the
# distribution does not ship itself (a company's or a TLS inspector's CA) under
# /usr/local/share/ca-certificates, so that update-ca-certificates keeps it in later layers too.
# Run as often as wanted: a certificate that is trusted already is passed over.
set -eu

bundle=$1
trusted=/etc/ssl/certs/ca-certificates.crt
extra=/usr/local/share/ca-certificates/kfbox
[ -s "$bundle" ] || exit 0
mkdir -p "$extra"

# A certificate is told by its base64 body, joined to one line: line widths differ between bundles.
awk -v dir="$extra" -v trusted="$trusted" '
    function body(line) { gsub(/[ \t\r]/, "", line); return line }
    /-----BEGIN CERTIFICATE-----/ { inside = 1; pem = ""; key = ""; next }
    /-----END CERTIFICATE-----/ {
        inside = 0
        if (FILENAME == trusted) known[key] = 1
        else if (!(key in known)) {
            known[key] = 1
            file = sprintf("%s/host-%03d.crt", dir, ++count)
            printf "-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n", pem > file
            close(file)
        }
        next
    }
    inside { pem = pem $0 "\n"; key = key body($0) }
    END { printf "%d host certificate(s) added\n", count }
' "$trusted" "$bundle"
update-ca-certificates
