// Whom a certificate names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct x509_st;

namespace pageserver::tls {

enum class NameField : std::uint8_t { uri, dns, email, common_name, address };

/// In the order of the certificate. What is not printable ASCII without spaces is left out.
std::vector<std::string> names_of(x509_st* certificate, NameField field);

}  // namespace pageserver::tls
