// OpenSSL 3, loaded when it is first needed: a process that has neither TLS nor tokens never maps it, which saves it
// some 2 MiB, and can run where it is not installed. A function of OpenSSL is called as openssl().NAME(...); one that
// is new here goes into its list. Macros and inline functions of OpenSSL's headers would call it past the table, so
// what they stand for is called instead; the linker finds those that slip through.
#pragma once

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace pageserver::base {

#define PAGESERVER_LIBSSL(FUNCTION)          \
  FUNCTION(SSL_CTX_add_client_CA)            \
  FUNCTION(SSL_CTX_check_private_key)        \
  FUNCTION(SSL_CTX_ctrl)                     \
  FUNCTION(SSL_CTX_free)                     \
  FUNCTION(SSL_CTX_get_cert_store)           \
  FUNCTION(SSL_CTX_get_security_level)       \
  FUNCTION(SSL_CTX_new)                      \
  FUNCTION(SSL_CTX_set_alpn_protos)          \
  FUNCTION(SSL_CTX_set_alpn_select_cb)       \
  FUNCTION(SSL_CTX_set_ciphersuites)         \
  FUNCTION(SSL_CTX_set_default_verify_paths) \
  FUNCTION(SSL_CTX_set_num_tickets)          \
  FUNCTION(SSL_CTX_set_options)              \
  FUNCTION(SSL_CTX_set_verify)               \
  FUNCTION(SSL_CTX_use_PrivateKey)           \
  FUNCTION(SSL_CTX_use_certificate)          \
  FUNCTION(SSL_clear_options)                \
  FUNCTION(SSL_ctrl)                         \
  FUNCTION(SSL_do_handshake)                 \
  FUNCTION(SSL_free)                         \
  FUNCTION(SSL_get0_param)                   \
  FUNCTION(SSL_get0_peer_certificate)        \
  FUNCTION(SSL_get0_verified_chain)          \
  FUNCTION(SSL_get_error)                    \
  FUNCTION(SSL_get_peer_cert_chain)          \
  FUNCTION(SSL_get_verify_result)            \
  FUNCTION(SSL_has_pending)                  \
  FUNCTION(SSL_is_init_finished)             \
  FUNCTION(SSL_new)                          \
  FUNCTION(SSL_read_ex)                      \
  FUNCTION(SSL_set1_host)                    \
  FUNCTION(SSL_set_accept_state)             \
  FUNCTION(SSL_set_bio)                      \
  FUNCTION(SSL_set_connect_state)            \
  FUNCTION(SSL_set_default_read_buffer_len)  \
  FUNCTION(SSL_set_hostflags)                \
  FUNCTION(SSL_set_options)                  \
  FUNCTION(SSL_shutdown)                     \
  FUNCTION(SSL_write_ex)                     \
  FUNCTION(TLS_client_method)                \
  FUNCTION(TLS_server_method)

#define PAGESERVER_LIBCRYPTO(FUNCTION)       \
  FUNCTION(ASN1_STRING_get0_data)            \
  FUNCTION(ASN1_STRING_length)               \
  FUNCTION(ASN1_STRING_to_UTF8)              \
  FUNCTION(ASN1_TIME_print)                  \
  FUNCTION(ASN1_TIME_to_tm)                  \
  FUNCTION(BIO_clear_flags)                  \
  FUNCTION(BIO_ctrl)                         \
  FUNCTION(BIO_free)                         \
  FUNCTION(BIO_get_data)                     \
  FUNCTION(BIO_get_new_index)                \
  FUNCTION(BIO_meth_new)                     \
  FUNCTION(BIO_meth_set_create)              \
  FUNCTION(BIO_meth_set_ctrl)                \
  FUNCTION(BIO_meth_set_read)                \
  FUNCTION(BIO_meth_set_write)               \
  FUNCTION(BIO_new)                          \
  FUNCTION(BIO_new_mem_buf)                  \
  FUNCTION(BIO_s_mem)                        \
  FUNCTION(BIO_set_data)                     \
  FUNCTION(BIO_set_flags)                    \
  FUNCTION(BIO_set_init)                     \
  FUNCTION(CRYPTO_free)                      \
  FUNCTION(CRYPTO_memcmp)                    \
  FUNCTION(ERR_clear_error)                  \
  FUNCTION(ERR_peek_error)                   \
  FUNCTION(ERR_peek_last_error)              \
  FUNCTION(ERR_reason_error_string)          \
  FUNCTION(EVP_Digest)                       \
  FUNCTION(EVP_PKEY_free)                    \
  FUNCTION(EVP_sha256)                       \
  FUNCTION(GENERAL_NAMES_free)               \
  FUNCTION(OPENSSL_sk_num)                   \
  FUNCTION(OPENSSL_sk_pop_free)              \
  FUNCTION(OPENSSL_sk_value)                 \
  FUNCTION(PEM_X509_INFO_read_bio)           \
  FUNCTION(PEM_read_bio_PrivateKey)          \
  FUNCTION(PEM_read_bio_X509)                \
  FUNCTION(RAND_priv_bytes)                  \
  FUNCTION(X509_INFO_free)                   \
  FUNCTION(X509_NAME_ENTRY_get_data)         \
  FUNCTION(X509_NAME_get_entry)              \
  FUNCTION(X509_NAME_get_index_by_NID)       \
  FUNCTION(X509_STORE_CTX_free)              \
  FUNCTION(X509_STORE_CTX_get0_chain)        \
  FUNCTION(X509_STORE_CTX_get0_param)        \
  FUNCTION(X509_STORE_CTX_get_error)         \
  FUNCTION(X509_STORE_CTX_init)              \
  FUNCTION(X509_STORE_CTX_new)               \
  FUNCTION(X509_STORE_CTX_set_default)       \
  FUNCTION(X509_STORE_CTX_set_verify_cb)     \
  FUNCTION(X509_STORE_add_cert)              \
  FUNCTION(X509_STORE_add_crl)               \
  FUNCTION(X509_STORE_set_flags)             \
  FUNCTION(X509_VERIFY_PARAM_set1_ip_asc)    \
  FUNCTION(X509_VERIFY_PARAM_set_auth_level) \
  FUNCTION(X509_chain_up_ref)                \
  FUNCTION(X509_free)                        \
  FUNCTION(X509_get0_notAfter)               \
  FUNCTION(X509_get0_notBefore)              \
  FUNCTION(X509_get_ext_d2i)                 \
  FUNCTION(X509_get_subject_name)            \
  FUNCTION(X509_up_ref)                      \
  FUNCTION(X509_verify_cert)                 \
  FUNCTION(X509_verify_cert_error_string)

struct OpenSsl {
// A name can't be in parentheses there. NOLINTNEXTLINE(bugprone-macro-parentheses)
#define PAGESERVER_MEMBER(name) decltype(&::name) name = nullptr;
  PAGESERVER_LIBSSL(PAGESERVER_MEMBER)
  PAGESERVER_LIBCRYPTO(PAGESERVER_MEMBER)
#undef PAGESERVER_MEMBER
};

/// Stays for the life of the process. Throws std::runtime_error that says what is missing, the first time and, where
/// that failed, each time: what runs in a noexcept function has had it before.
///
/// Threads: any.
const OpenSsl& openssl();

}  // namespace pageserver::base
