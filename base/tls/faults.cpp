#include "base/tls/faults.hpp"

#include "base/openssl.hpp"
#include "base/tls/names.hpp"

namespace pageserver::tls {

using base::openssl;

namespace {

std::string moment_of(const ASN1_TIME* time) {
  BIO* const out = openssl().BIO_new(openssl().BIO_s_mem());
  if (out == nullptr) return {};
  std::string text;
  if (openssl().ASN1_TIME_print(out, time) == 1) {
    char* data = nullptr;
    const long size = openssl().BIO_ctrl(out, BIO_CTRL_INFO, 0, &data);
    text.assign(data, static_cast<std::size_t>(size));
  }
  openssl().BIO_free(out);
  return text;
}

/// Whom the certificate is for.
std::string names_text(X509* certificate) {
  std::string text;
  for (const NameField field : {NameField::dns, NameField::address})
    for (const std::string& name : names_of(certificate, field)) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "nobody" : text;
}

/// Null where there is none.
X509* shown_by_peer(ssl_st* connection, bool is_server) {
  X509* const certificate = openssl().SSL_get0_peer_certificate(connection);
  // A client that did not believe it has it in the chain alone.
  if (STACK_OF(X509)* const chain = openssl().SSL_get_peer_cert_chain(connection);
      certificate == nullptr && !is_server && openssl().OPENSSL_sk_num(ossl_check_const_X509_sk_type(chain)) > 0)
    return static_cast<X509*>(openssl().OPENSSL_sk_value(ossl_check_const_X509_sk_type(chain), 0));
  return certificate;
}

std::string unbelieved(X509* certificate, long verdict, bool is_server, const std::string& expected_name) {
  const std::string whose = is_server ? "the client's certificate " : "the server's certificate ";
  const std::string clocks = "renew it, and compare the clocks of both machines";
  switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return whose + "or one above it has expired" +
             (certificate == nullptr ? ""
                                     : " (its own end: " + moment_of(openssl().X509_get0_notAfter(certificate)) + ")") +
             "; " + clocks;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return whose + "or one above it is not valid yet" +
             (certificate == nullptr
                  ? ""
                  : " (its own beginning: " + moment_of(openssl().X509_get0_notBefore(certificate)) + ")") +
             "; " + clocks;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return whose + "is for another name: expected " + expected_name + ", it is for " +
             (certificate == nullptr ? "others" : names_text(certificate)) +
             "; connect by a name of it, or name that with tls_name=";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return whose + "is signed by itself and by no authority that is known here; " +
             (is_server ? "add it to client_ca" : "name it with tls_ca=") + " if it is to be believed";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return whose + "is signed by an authority that is not known here, or one between them was not sent; " +
             (is_server ? "name the authority in client_ca" : "name the authority with tls_ca=");
    case X509_V_ERR_INVALID_PURPOSE:
      return whose + "is not for " +
             (is_server ? "clients (extended key usage clientAuth)" : "servers (extended key usage serverAuth)") +
             "; make one that is";
    case X509_V_ERR_CERT_REVOKED: return whose + "was revoked by its authority; get another one";
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
      return whose + "can't be looked up among the revoked ones: " + openssl().X509_verify_cert_error_string(verdict) +
             "; renew the list beside the authority's certificate";
    default: return whose + "is not believed: " + openssl().X509_verify_cert_error_string(verdict);
  }
}

/// What the other side said before it closed; empty: nothing that is known.
std::string refused_by_peer(int reason, bool is_server) {
  const std::string ours =
      is_server ? "the client does not believe our certificate: " : "the daemon refused our certificate: ";
  switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "the daemon wants a certificate of its clients; give one with tls_certificate= and tls_key=";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA: return ours + "it does not know its authority";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED: return ours + "it has expired, or is not valid yet";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED: return ours + "it was revoked";
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
      return ours + (is_server ? "it is not for servers (extended key usage serverAuth)"
                               : "it is not for clients (extended key usage clientAuth)");
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: return ours + "its log says why";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: return "the other side speaks no TLS 1.3";
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
      return "the other side does not speak the protocol pageserver/1 (ALPN) there";
    default: return {};
  }
}

}  // namespace

std::string fault_of(ssl_st* connection, bool is_server, const std::string& expected_name, bool not_tls) {
  const unsigned long code = openssl().ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const char* const words = openssl().ERR_reason_error_string(code);
  std::string text = words != nullptr ? words : "unknown reason";
  openssl().ERR_clear_error();
  if (not_tls)
    return is_server ? "the client speaks no TLS; this port does: use pageservers://"
                     : "what answers there speaks no TLS; use pageserver://, without the s, or the port that does TLS";
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
    return unbelieved(shown_by_peer(connection, is_server), openssl().SSL_get_verify_result(connection), is_server,
                      expected_name);
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
    return "the client shows no certificate, and client_ca asks for one; it gives one with tls_certificate= and "
           "tls_key=";
  if (reason == SSL_R_UNSUPPORTED_PROTOCOL) return "the client speaks no TLS 1.3";
  if (std::string said = refused_by_peer(reason, is_server); !said.empty()) return said;
  return text;
}

std::string fault_of_client_certificate(x509_st* certificate, long verdict) {
  return unbelieved(certificate, verdict, true, {});
}

}  // namespace pageserver::tls
