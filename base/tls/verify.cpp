#include "base/tls/verify.hpp"

#include <algorithm>
#include <ctime>
#include <new>

#include "base/openssl.hpp"
#include "base/tls/faults.hpp"

namespace pageserver::tls {

using base::openssl;

namespace {

struct FreeVerification {
  void operator()(X509_STORE_CTX* verification) const noexcept { openssl().X509_STORE_CTX_free(verification); }
};

// Else all sessions would end when a list is not renewed in time, which is nobody's fault among them.
int forgive_old_list(int is_right, X509_STORE_CTX* verification) {
  return is_right == 1 || openssl().X509_STORE_CTX_get_error(verification) == X509_V_ERR_CRL_HAS_EXPIRED ? 1 : 0;
}

}  // namespace

std::shared_ptr<PeerChain> PeerChain::of(ssl_st* connection) {
  X509* const own = openssl().SSL_get0_peer_certificate(connection);
  if (own == nullptr || openssl().SSL_get_verify_result(connection) != X509_V_OK) return nullptr;
  std::shared_ptr<PeerChain> chain(new PeerChain);
  if (openssl().X509_up_ref(own) != 1) throw std::bad_alloc();
  chain->own_ = own;
  if (STACK_OF(X509)* const sent = openssl().SSL_get_peer_cert_chain(connection); sent != nullptr) {
    chain->sent_ = openssl().X509_chain_up_ref(sent);
    if (chain->sent_ == nullptr) throw std::bad_alloc();
  }
  chain->note_end(openssl().SSL_get0_verified_chain(connection));
  return chain;
}

PeerChain::~PeerChain() {
  openssl().X509_free(own_);
  openssl().OPENSSL_sk_pop_free(ossl_check_X509_sk_type(sent_),
                                reinterpret_cast<OPENSSL_sk_freefunc>(openssl().X509_free));
}

void PeerChain::note_end(const STACK_OF(X509) * verified) noexcept {
  std::int64_t end = INT64_MAX;
  for (int i = 0; i < openssl().OPENSSL_sk_num(ossl_check_const_X509_sk_type(verified)); ++i) {
    std::tm time{};
    if (openssl().ASN1_TIME_to_tm(openssl().X509_get0_notAfter(static_cast<X509*>(
                                      openssl().OPENSSL_sk_value(ossl_check_const_X509_sk_type(verified), i))),
                                  &time) == 1)
      end = std::min<std::int64_t>(end, ::timegm(&time));
  }
  not_after_ = end;
}

// As OpenSSL does in a handshake, see ssl_verify_cert_chain().
std::string PeerChain::fault(const Context& context) {
  openssl().ERR_clear_error();
  X509_STORE* const believed = openssl().SSL_CTX_get_cert_store(context.get());
  const std::unique_ptr<X509_STORE_CTX, FreeVerification> verification(openssl().X509_STORE_CTX_new());
  if (verification == nullptr || openssl().X509_STORE_CTX_init(verification.get(), believed, own_, sent_) != 1 ||
      openssl().X509_STORE_CTX_set_default(verification.get(), "ssl_client") != 1) {
    openssl().ERR_clear_error();
    throw std::bad_alloc();
  }
  openssl().X509_VERIFY_PARAM_set_auth_level(openssl().X509_STORE_CTX_get0_param(verification.get()),
                                             openssl().SSL_CTX_get_security_level(context.get()));
  openssl().X509_STORE_CTX_set_verify_cb(verification.get(), forgive_old_list);
  const bool is_right = openssl().X509_verify_cert(verification.get()) == 1;
  const int verdict = openssl().X509_STORE_CTX_get_error(verification.get());
  openssl().ERR_clear_error();
  if (is_right) {
    note_end(openssl().X509_STORE_CTX_get0_chain(verification.get()));
    return {};
  }
  if (verdict == X509_V_ERR_OUT_OF_MEM) throw std::bad_alloc();
  return fault_of_client_certificate(own_, verdict);
}

}  // namespace pageserver::tls
