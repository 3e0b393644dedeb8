// Where modules lie, and how a program gets one's symbol.
#pragma once

#include <string>

#include "storage/file/file_system.hpp"

namespace pageserver::storage {

/// Loads the module `name`, such as "pageserver-ceph.so", and hands its `symbol` to `use`, which returns false where
/// the module is not for this program. ELIBACC: there is no module. ELIBBAD: it is of another release, or can't be
/// loaded.
IoResult load_module(const std::string& name, const char* symbol, bool (*use)(void* symbol, void* context),
                     void* context);

}  // namespace pageserver::storage
