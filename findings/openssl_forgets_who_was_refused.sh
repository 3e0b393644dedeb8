#!/bin/bash
# Finding: once a client of OpenSSL has refused the server's certificate, SSL_get0_peer_certificate says that there was none;
# the certificate is the first of SSL_get_peer_cert_chain.
#
# Expected: the manual gives null for a peer that presented no certificate. A client that wants to say in its error whose
#       certificate it refused, and until when that was valid, asks for it after the handshake has failed.
# Seen: null, while SSL_get_verify_result tells what is wrong with a certificate, and the chain has it. When the certificate is
#       believed both calls give it.
# Version: Debian 12: libssl3, libssl-dev and openssl 3.0.20-1~deb12u2, TLS 1.3. Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server"; fi; rm -rf "$work"' EXIT
cd "$work"
version=3.0.20-1~deb12u2
apt-get download -q openssl=$version libssl3=$version libssl-dev=$version >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" unpacked; done
lib=$work/unpacked/usr/lib/$(gcc -print-multiarch)
export LD_LIBRARY_PATH=$lib
openssl=$work/unpacked/usr/bin/openssl
cat >client.c <<'C'
#include <openssl/ssl.h>
#include <stdio.h>
int main(int argc, char **argv) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  if (argc > 2) SSL_CTX_load_verify_file(context, argv[2]);
  BIO *bio = BIO_new_connect(argv[1]);
  if (BIO_do_connect(bio) != 1) return 2;
  SSL *ssl = SSL_new(context);
  SSL_set_bio(ssl, bio, bio);
  int done = SSL_connect(ssl);
  STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
  printf("handshake %s, verdict %s, certificate %s, chain of %d\n", done == 1 ? "done" : "failed",
         SSL_get_verify_result(ssl) == X509_V_OK ? "ok" : "refused",
         SSL_get0_peer_certificate(ssl) == NULL ? "none" : "there", chain == NULL ? 0 : sk_X509_num(chain));
  return 0;
}
C
gcc -I unpacked/usr/include -I "unpacked/usr/include/$(basename "$lib")" client.c -L "$lib" -lssl -lcrypto -o client
"$openssl" req -x509 -config /dev/null -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=server -days 30 -keyout key.pem \
  -out certificate.pem 2>/dev/null
"$openssl" s_server -accept 127.0.0.1:0 -key key.pem -cert certificate.pem -www >said 2>&1 &
server=$!
until grep -q '^ACCEPT' said; do kill -0 "$server"; sleep 0.1; done
address=$(sed -n 's/^ACCEPT //p' said)
refused=$(./client "$address")
believed=$(./client "$address" certificate.pem)
echo "refused:  $refused"
echo "believed: $believed"
if [ "$refused" = "handshake failed, verdict refused, certificate none, chain of 1" ] &&
  [ "$believed" = "handshake done, verdict ok, certificate there, chain of 1" ]; then
  exit 0
fi
echo "the behaviour changed"
exit 1
