#include "base/openssl.hpp"

#include <dlfcn.h>

#include <stdexcept>
#include <string>
#include <type_traits>

namespace pageserver::base {

namespace {

[[noreturn]] void missing() {
  const char* const why = ::dlerror();
  throw std::runtime_error("TLS and tokens need OpenSSL 3, which can't be loaded (" +
                           std::string(why != nullptr ? why : "no reason given") +
                           "); install its libraries, on Debian the package libssl3");
}

OpenSsl load() {
  // Names with the version that the headers are of: another one may have other layouts. Never unloaded, as it has
  // functions that run at the end of the process.
  void* const ssl = ::dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (ssl == nullptr) missing();
  void* const crypto = ::dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (crypto == nullptr) missing();
  OpenSsl functions;
  const auto find = [](auto& function, void* library, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    if (function == nullptr) missing();
  };
#define PAGESERVER_FIND_SSL(name) find(functions.name, ssl, #name);
#define PAGESERVER_FIND_CRYPTO(name) find(functions.name, crypto, #name);
  PAGESERVER_LIBSSL(PAGESERVER_FIND_SSL)
  PAGESERVER_LIBCRYPTO(PAGESERVER_FIND_CRYPTO)
#undef PAGESERVER_FIND_SSL
#undef PAGESERVER_FIND_CRYPTO
  return functions;
}

}  // namespace

const OpenSsl& openssl() {
  static const OpenSsl functions = load();
  return functions;
}

}  // namespace pageserver::base
