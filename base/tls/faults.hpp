// Why a TLS connection failed, for people: what it was, and what helps.
#pragma once

#include <string>

struct ssl_st;
struct x509_st;

namespace pageserver::tls {

/// Of the error that the last call on `connection` left in this thread's queue, which is empty afterwards.
/// `expected_name` is whom a client wanted to reach; `not_tls`: what came is something else.
std::string fault_of(ssl_st* connection, bool is_server, const std::string& expected_name, bool not_tls);
/// Of a client's certificate with which a verification outside of a handshake came to this verdict (X509_V_ERR_...).
std::string fault_of_client_certificate(x509_st* certificate, long verdict);

}  // namespace pageserver::tls
