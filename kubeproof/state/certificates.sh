# shellcheck shell=sh
# When the certificates of a node end: path=date, in the form of openssl(1). Keys beside them in a file are not read.
command -v openssl >/dev/null || { echo 'openssl: not found' >&2; exit 127; }
ends() { openssl x509 -noout -enddate 2>/dev/null | sed "s|^notAfter=|$1=|"; }
for file in "$KUBERNETES"/pki/*.crt "$KUBERNETES"/pki/etcd/*.crt "$KUBELET"/kubelet-client-current.pem "$KUBELET"/*.crt; do
  [ ! -e "$file" ] || ends "$file" <"$file"
done
# Kubeconfigs carry theirs; kubelet's own names a file.
for file in "$KUBERNETES"/*.conf; do
  [ ! -e "$file" ] || sed -n 's/.*client-certificate-data: *//p' "$file" | base64 -d | ends "$file"
done
true
