// A view of the file system in which paths inside one directory can't lead out of it.
#pragma once

#include <memory>
#include <string>

#include "storage/file/file_system.hpp"

namespace pageserver::server {

/// Calls on PREFIX and `PREFIX/NAME` go through the open directory `directory`, wherever that was moved to, and follow
/// no symbolic link; NAME has no separator. To open any other path is EXDEV. The status of PREFIX is that of what has
/// this path now, or what the path `link` leads to now, where that is given. `base` outlives the result, which does not
/// own `directory`.
std::shared_ptr<storage::FileSystem> make_directory_files(storage::FileSystem& base, int directory, std::string prefix,
                                                          std::string link = {});

/// `base` itself, in the form in which a store host holds its file system.
std::shared_ptr<storage::FileSystem> borrow_files(storage::FileSystem& base);

}  // namespace pageserver::server
