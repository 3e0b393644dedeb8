// What a program and the module of a home agree on: storage/rados/ is built into one, which is loaded once a path asks
// for it.
#pragma once

namespace pageserver::storage {

class FileSystem;

/// The release, and the hash of the headers that both are compiled with: a module of others is refused.
inline constexpr const char* home_interface = "pageserver " PAGESERVER_HOME_INTERFACE;

/// The module's one symbol, `pageserver_home_module`: its files, which are never destroyed; null where `interface` is
/// not its own, or memory is out.
using HomeModule = FileSystem* (*)(const char* interface) noexcept;

/// The module's descriptors begin here: no operating system gives such numbers.
inline constexpr int home_descriptors_begin = 1 << 30;

}  // namespace pageserver::storage
