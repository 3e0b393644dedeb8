#include "base/tls/context.hpp"

#include <algorithm>
#include <climits>
#include <cstring>
#include <ctime>
#include <new>
#include <stdexcept>

#include "base/openssl.hpp"

namespace pageserver::tls {

using base::openssl;

namespace {

struct Free {
  void operator()(BIO* bio) const noexcept { openssl().BIO_free(bio); }
  void operator()(X509* certificate) const noexcept { openssl().X509_free(certificate); }
  void operator()(EVP_PKEY* key) const noexcept { openssl().EVP_PKEY_free(key); }
  void operator()(STACK_OF(X509_INFO) * infos) const noexcept {
    openssl().OPENSSL_sk_pop_free(ossl_check_X509_INFO_sk_type(infos),
                                  reinterpret_cast<OPENSSL_sk_freefunc>(openssl().X509_INFO_free));
  }
};
using BioPtr = std::unique_ptr<BIO, Free>;
using CertificatePtr = std::unique_ptr<X509, Free>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Free>;
using InfosPtr = std::unique_ptr<STACK_OF(X509_INFO), Free>;

/// OpenSSL's words for what failed last, and nothing left for the next call to find.
std::string last_error() {
  const unsigned long code = openssl().ERR_peek_last_error();
  const char* const reason = openssl().ERR_reason_error_string(code);
  std::string text = reason != nullptr ? reason : "unknown reason";
  openssl().ERR_clear_error();
  return text;
}

BioPtr reader_of(const std::string& text) {
  if (text.size() > INT_MAX) throw std::runtime_error("it is too long");
  BioPtr reader(openssl().BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (reader == nullptr) throw std::bad_alloc();
  return reader;
}

/// A key that a password guards can't be used by who starts by itself: no question is asked.
int no_password(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

/// The first certificate in `text`, or null.
CertificatePtr next_certificate(BIO* reader) {
  CertificatePtr certificate(openssl().PEM_read_bio_X509(reader, nullptr, nullptr, nullptr));
  if (certificate == nullptr && ERR_GET_REASON(openssl().ERR_peek_last_error()) == PEM_R_NO_START_LINE)
    openssl().ERR_clear_error();
  return certificate;
}

// One protocol is spoken; who offers some, and not that one, wants something else.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* offered,
                    unsigned int offered_length, void*) {
  for (unsigned int at = 0; at < offered_length; at += 1u + offered[at]) {
    if (offered[at] != application_protocol.size() || offered_length - at - 1 < offered[at]) continue;
    if (std::equal(application_protocol.begin(), application_protocol.end(), offered + at + 1)) {
      *out = offered + at + 1;
      *out_length = offered[at];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

Credentials::~Credentials() { ::explicit_bzero(key.data(), key.size()); }

Context::Context(bool is_server)
    : context_(openssl().SSL_CTX_new(is_server ? openssl().TLS_server_method() : openssl().TLS_client_method())),
      is_server_(is_server) {
  if (context_ == nullptr) throw std::runtime_error("TLS can't be used: " + last_error());
  openssl().SSL_CTX_ctrl(context_, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, nullptr);
  // The client chooses. All three are sound, and the first is the fastest where processors have AES.
  if (openssl().SSL_CTX_set_ciphersuites(
          context_, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") != 1) {
    openssl().SSL_CTX_free(context_);
    throw std::runtime_error("TLS can't be used: " + last_error());
  }
  // A peer that ends without close_notify has ended: frames say whether something is missing.
  openssl().SSL_CTX_set_options(context_, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  openssl().SSL_CTX_set_num_tickets(context_, 0);
  openssl().SSL_CTX_ctrl(context_, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, nullptr);
  // Idle connections keep no buffers. What is sent is kept by us, and may have moved by the next attempt.
  openssl().SSL_CTX_ctrl(context_, SSL_CTRL_MODE,
                         SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
                         nullptr);
  // One call for a record's head and body.
  openssl().SSL_CTX_ctrl(context_, SSL_CTRL_SET_READ_AHEAD, 1, nullptr);
}

Context::~Context() { openssl().SSL_CTX_free(context_); }

std::shared_ptr<const Context> Context::of_server(const Credentials& credentials) {
  const std::shared_ptr<Context> context(new Context(true));
  context->take_own(credentials);
  openssl().SSL_CTX_set_alpn_select_cb(context->context_, choose_protocol, nullptr);
  if (!credentials.authorities.empty()) {
    context->take_authorities(credentials);
    openssl().SSL_CTX_set_verify(context->context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return context;
}

std::shared_ptr<const Context> Context::of_client(const Credentials& credentials) {
  const std::shared_ptr<Context> context(new Context(false));
  if (!credentials.certificate.empty()) context->take_own(credentials);
  if (!credentials.authorities.empty()) {
    context->take_authorities(credentials);
  } else if (openssl().SSL_CTX_set_default_verify_paths(context->context_) != 1) {
    throw std::runtime_error("authorities: those of the system can't be read: " + last_error());
  }
  openssl().SSL_CTX_set_verify(context->context_, SSL_VERIFY_PEER, nullptr);
  std::string offer(1, static_cast<char>(application_protocol.size()));
  offer += application_protocol;
  if (openssl().SSL_CTX_set_alpn_protos(context->context_, reinterpret_cast<const unsigned char*>(offer.data()),
                                        static_cast<unsigned int>(offer.size())) != 0)
    throw std::bad_alloc();
  return context;
}

void Context::take_own(const Credentials& credentials) {
  openssl().ERR_clear_error();
  const BioPtr certificates = reader_of(credentials.certificate);
  const CertificatePtr own = next_certificate(certificates.get());
  if (own == nullptr) throw std::runtime_error("certificate: there is none in PEM form");
  if (openssl().SSL_CTX_use_certificate(context_, own.get()) != 1)
    throw std::runtime_error("certificate: " + last_error());
  note_end(*own);
  while (const CertificatePtr more = next_certificate(certificates.get())) {
    if (openssl().SSL_CTX_ctrl(context_, SSL_CTRL_CHAIN_CERT, 1, more.get()) != 1)
      throw std::runtime_error("certificate: " + last_error());
    note_end(*more);
  }
  if (openssl().ERR_peek_last_error() != 0) throw std::runtime_error("certificate: one of the chain: " + last_error());
  const BioPtr keys = reader_of(credentials.key);
  bool asked = false;
  const KeyPtr key(openssl().PEM_read_bio_PrivateKey(keys.get(), nullptr, no_password, &asked));
  if (asked) {
    openssl().ERR_clear_error();
    throw std::runtime_error("key: a password guards it; store it without (openssl pkey -in KEY -out NEW)");
  }
  if (key == nullptr) {
    openssl().ERR_clear_error();
    throw std::runtime_error("key: there is no private key in PEM form");
  }
  if (openssl().SSL_CTX_use_PrivateKey(context_, key.get()) != 1 ||
      openssl().SSL_CTX_check_private_key(context_) != 1) {
    openssl().ERR_clear_error();
    throw std::runtime_error("key: it is not that of the certificate");
  }
}

void Context::note_end(const X509& certificate) noexcept {
  std::tm time{};
  if (openssl().ASN1_TIME_to_tm(openssl().X509_get0_notAfter(&certificate), &time) == 1)
    not_after_ = std::min<std::int64_t>(not_after_, ::timegm(&time));
}

void Context::take_authorities(const Credentials& credentials) {
  openssl().ERR_clear_error();
  const BioPtr reader = reader_of(credentials.authorities);
  const InfosPtr infos(openssl().PEM_X509_INFO_read_bio(reader.get(), nullptr, nullptr, nullptr));
  if (infos == nullptr) throw std::runtime_error("authorities: " + last_error());
  X509_STORE* const store = openssl().SSL_CTX_get_cert_store(context_);
  int certificates = 0;
  for (int i = 0; i < openssl().OPENSSL_sk_num(ossl_check_const_X509_INFO_sk_type(infos.get())); ++i) {
    const X509_INFO* const info =
        static_cast<X509_INFO*>(openssl().OPENSSL_sk_value(ossl_check_const_X509_INFO_sk_type(infos.get()), i));
    if (info->x509 != nullptr) {
      ++certificates;
      if (openssl().X509_STORE_add_cert(store, info->x509) != 1)
        throw std::runtime_error("authorities: " + last_error());
      if (is_server_ && openssl().SSL_CTX_add_client_CA(context_, info->x509) != 1)
        throw std::runtime_error("authorities: " + last_error());
    }
    if (info->crl != nullptr) {
      if (openssl().X509_STORE_add_crl(store, info->crl) != 1) throw std::runtime_error("authorities: " + last_error());
      openssl().X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    }
  }
  if (certificates == 0) throw std::runtime_error("authorities: there is no certificate in PEM form");
}

}  // namespace pageserver::tls
