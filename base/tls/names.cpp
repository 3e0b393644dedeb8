#include "base/tls/names.hpp"

#include <arpa/inet.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

namespace pageserver::tls {

namespace {

constexpr std::size_t name_bytes_max = 255;

void add_text(std::vector<std::string>& names, const ASN1_STRING* text) {
  unsigned char* bytes = nullptr;
  const int size = ASN1_STRING_to_UTF8(&bytes, text);
  if (size < 0) return;
  const std::string name(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (plain && !name.empty() && name.size() <= name_bytes_max) names.push_back(name);
}

void add_address(std::vector<std::string>& names, const ASN1_OCTET_STRING* bytes) {
  const int size = ASN1_STRING_length(bytes);
  if (size != 4 && size != 16) return;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(bytes), text.data(), text.size()) != nullptr)
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
    const X509_NAME* const subject = X509_get_subject_name(certificate);
    for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
      add_text(names, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    return names;
  }
  auto* const all = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* const each = sk_GENERAL_NAME_value(all, i);
    if (each->type != type_of(field)) continue;
    if (field == NameField::address)
      add_address(names, each->d.iPAddress);
    else
      add_text(names, each->d.ia5);
  }
  GENERAL_NAMES_free(all);
  return names;
}

}  // namespace pageserver::tls
