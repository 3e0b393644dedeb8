#include "base/tls/names.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "base/openssl.hpp"

namespace pageserver::tls {

using base::openssl;

namespace {

constexpr std::size_t name_bytes_max = 255;

void add_text(std::vector<std::string>& names, const ASN1_STRING* text) {
  unsigned char* bytes = nullptr;
  const int size = openssl().ASN1_STRING_to_UTF8(&bytes, text);
  if (size < 0) return;
  const std::string name(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  openssl().CRYPTO_free(bytes, OPENSSL_FILE, OPENSSL_LINE);
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (plain && !name.empty() && name.size() <= name_bytes_max) names.push_back(name);
}

void add_address(std::vector<std::string>& names, const ASN1_OCTET_STRING* bytes) {
  const int size = openssl().ASN1_STRING_length(bytes);
  if (size != 4 && size != 16) return;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (::inet_ntop(size == 4 ? AF_INET : AF_INET6, openssl().ASN1_STRING_get0_data(bytes), text.data(), text.size()) !=
      nullptr)
    names.emplace_back(text.data());
}

int type_of(NameField field) {
  switch (field) {
    case NameField::uri: return GEN_URI;
    case NameField::dns: return GEN_DNS;
    case NameField::email: return GEN_EMAIL;
    case NameField::address: return GEN_IPADD;
    case NameField::common_name: break;
  }
  return -1;
}

}  // namespace

std::vector<std::string> names_of(x509_st* certificate, NameField field) {
  std::vector<std::string> names;
  if (field == NameField::common_name) {
    const X509_NAME* const subject = openssl().X509_get_subject_name(certificate);
    for (int at = -1; (at = openssl().X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
      add_text(names, openssl().X509_NAME_ENTRY_get_data(openssl().X509_NAME_get_entry(subject, at)));
    return names;
  }
  auto* const all =
      static_cast<GENERAL_NAMES*>(openssl().X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < openssl().OPENSSL_sk_num(ossl_check_const_GENERAL_NAME_sk_type(all)); ++i) {
    const GENERAL_NAME* const each =
        static_cast<GENERAL_NAME*>(openssl().OPENSSL_sk_value(ossl_check_const_GENERAL_NAME_sk_type(all), i));
    if (each->type != type_of(field)) continue;
    if (field == NameField::address)
      add_address(names, each->d.iPAddress);
    else
      add_text(names, each->d.ia5);
  }
  openssl().GENERAL_NAMES_free(all);
  return names;
}

}  // namespace pageserver::tls
