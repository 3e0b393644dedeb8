// From an errno to a message: what was tried, on what, what the system says, what to do.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/text.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/file_size_limit.hpp"
#include "storage/file/home.hpp"

namespace pageserver::storage {
namespace {

struct Explanation {
  Errc code = Errc::provider_error;
  std::string detail;  // replaces the system's words when not empty
  std::string remedy;
};

std::string octal(std::uint32_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", mode & 07777U);
  return text;
}

bool is_folder(const FileStatus& status) { return S_ISDIR(status.mode); }

std::string described_owner(const std::string& path, const FileStatus& status) {
  return (is_folder(status) ? "the folder " : "the file ") + quoted(path) + " belongs to uid " +
         std::to_string(status.uid) + " gid " + std::to_string(status.gid) + " with mode " + octal(status.mode);
}

/// The thing nearest to `path` that can be looked at: `path` itself, else the closest folder above it.
bool nearest_visible(FileSystem& file_system, std::string path, std::string& found, FileStatus& status) {
  for (;;) {
    if (file_system.status_of(path, status).ok()) {
      found = path;
      return true;
    }
    auto parent = parent_folder(path);
    if (parent == path) return false;
    path = std::move(parent);
  }
}

Explanation explain_permission(FileSystem& file_system, const std::string& path, int error) {
  Explanation result;
  result.code = Errc::permission_denied;
  const auto our_uid = std::to_string(::geteuid());
  std::string found;
  FileStatus status;
  if (!nearest_visible(file_system, path, found, status)) {
    result.remedy = "this process runs as uid " + our_uid + ": run it as the owner, or grant the permission";
    return result;
  }
  const auto owner = std::to_string(status.uid);
  result.detail = described_owner(found, status) + ", and this process runs as uid " + our_uid;
  if (error == EPERM || owner == our_uid) {
    result.remedy = "grant the permission (chmod, or chattr -i where the file is immutable)";
  } else {
    result.remedy = "run this process as uid " + owner + ", or hand it over: chown " + our_uid + " " + quoted(found);
  }
  return result;
}

Explanation explain_missing(FileSystem& file_system, const std::string& path) {
  const auto parent = parent_folder(path);
  FileStatus status;
  if (!file_system.status_of(parent, status).ok()) {
    return {Errc::not_found, "the folder " + quoted(parent) + " does not exist", "create it first: mkdir -p"};
  }
  if (file_system.status_of(path, status).ok() && S_ISLNK(status.mode)) {
    return {Errc::not_found, "it is a symbolic link to a file that does not exist", "correct or remove the link"};
  }
  return {Errc::not_found, "there is no such file", "check the path; opening for writing creates it"};
}

/// The remedy names no request: a client may have asked for that size, or the file was there before.
Explanation explain_size() {
  const std::uint64_t limit = file_size_limit();
  if (limit == ~0ull) return {Errc::limit_exceeded, "", "the file system takes no file of that size: ask for less"};
  return {Errc::limit_exceeded, "a file of this process may have " + std::to_string(limit) + " bytes (ulimit -f)",
          "raise that limit, or ask for less"};
}

/// What a pool's client has to be told otherwise than a file's user.
Explanation explain_home(int error) {
  switch (error) {
    case ENOENT:
      return {Errc::not_found, "there is no such file, or no such pool, client or configuration",
              "check the path, conf= (/etc/ceph/ceph.conf without it) and id="};
    case EACCES:
    case EPERM:
      return {Errc::permission_denied, "the cluster does not let this client do that",
              "check its key and its capabilities (docs/homes.md names those that are needed)"};
    case EINVAL:
      return {Errc::invalid_argument, "", "write ceph:POOL/NAME, and behind that ?conf=FILE&id=CLIENT&namespace=NAME"};
    case ETIMEDOUT:
      return {Errc::timed_out, "no monitor answered in time", "check mon_host and the network, and try again"};
    case ENOTCONN:
    case ESHUTDOWN: return {Errc::provider_error, "", "check the cluster, and start anew"};
    case ENOSPC:
    case EDQUOT: return {Errc::no_space, "", "make room in the pool, or raise its quota"};
    case EIO: return {Errc::provider_error, "", "see the cluster's health (ceph -s)"};
    case ELIBACC:
      return {Errc::unsupported, "this program has no module for Ceph",
              "install pageserver-ceph, or build with librados-dev"};
    case ELIBBAD:
      return {Errc::unsupported, "its module for Ceph is of another release, or librados is missing",
              "install pageserver-ceph of the same release"};
    default: return {};
  }
}

Explanation explain(FileSystem& file_system, const std::string& path, int error) {
  if (error == taken_over_error)
    return {Errc::lease_lost, "another process has taken the store over",
            "what was not flushed is lost; open it where it is served now"};
  if (is_home_path(path))
    if (Explanation found = explain_home(error); !found.remedy.empty()) return found;
  switch (error) {
    case ENOSPC: return {Errc::no_space, "", "free some room on its file system and try again"};
    case EDQUOT: return {Errc::no_space, "", "free some room or raise the quota and try again"};
    case EACCES:
    case EPERM: return explain_permission(file_system, path, error);
    case EROFS:
      return {Errc::read_only, "",
              "mount the file system for writing, or open it for reading only: access=read for a file, "
              "\"read_only\": true in the configuration of a daemon"};
    case ENOENT: return explain_missing(file_system, path);
    case ENOTDIR: return {Errc::provider_error, "a part of the path is a file and not a folder", "correct the path"};
    case EISDIR: return {Errc::provider_error, "it is a folder and not a file", "name the image file itself"};
    case ELOOP: return {Errc::provider_error, "", "the path is a symbolic link that may not be followed here"};
    case ENAMETOOLONG: return {Errc::invalid_argument, "", "choose a shorter path"};
    case EEXIST: return {Errc::already_exists, "", "choose another name or remove what is there"};
    case EFBIG: return explain_size();
    case EMFILE: return {Errc::limit_exceeded, "", "raise the limit on open files of this process (ulimit -n)"};
    case ENFILE: return {Errc::limit_exceeded, "", "raise the system's limit on open files (fs.file-max)"};
    case EBUSY:
    case ETXTBSY: return {Errc::busy, "", "stop what uses it"};
    case EIO: return {Errc::provider_error, "", "the medium failed: see the kernel's log (dmesg) and check the disk"};
    case ESTALE: return {Errc::provider_error, "", "the network file system dropped the file: open it again"};
    case ENOMEM: return {Errc::provider_error, "", "free some memory and try again"};
    case ENOLCK: return {Errc::provider_error, "", "the file system can't lock files: keep the image elsewhere"};
    default: break;
  }
  if (is_unsupported(error)) return {Errc::unsupported, "", "the file system can't do that: keep the image elsewhere"};
  return {};
}

std::string system_words(int error) {
  const char* words = ::strerrordesc_np(error);
  return words != nullptr ? words : "unknown error";
}

std::string system_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? name : "errno " + std::to_string(error);
}

}  // namespace

namespace {

/// A home's path in two: what comes before its keys, and those with their `?`.
std::pair<std::string, std::string> without_keys(const std::string& path) {
  const auto mark = std::min(path.find('?'), path.size());
  return {path.substr(0, mark), path.substr(mark)};
}

}  // namespace

std::string path_in_folder(const std::string& folder, const std::string& name) {
  if (is_home_path(folder)) {
    const auto [place, keys] = without_keys(folder);
    return place + "/" + name + keys;
  }
  if (folder == ".") return name;
  return folder.ends_with('/') ? folder + name : folder + "/" + name;
}

std::string parent_folder(const std::string& path) {
  if (is_home_path(path)) {
    const auto [place, keys] = without_keys(path);
    return place.substr(0, place.find('/')) + keys;
  }
  const auto end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "." : "/";
  const auto slash = path.find_last_of('/', end);
  if (slash == std::string::npos) return ".";
  const auto last = path.find_last_not_of('/', slash);
  return last == std::string::npos ? "/" : path.substr(0, last + 1);
}

std::string file_name(const std::string& path) {
  if (is_home_path(path)) {
    const std::string place = without_keys(path).first;
    const auto first = place.find('/');
    return first == std::string::npos ? "." : place.substr(first + 1);
  }
  const auto slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool is_unsupported(int error) noexcept { return error == EOPNOTSUPP || error == ENOSYS; }

MemoryError file_error(FileSystem& file_system, std::string_view action, const std::string& path, int error) {
  auto explanation = explain(file_system, path, error);
  auto text = std::string{action} + " " + quoted(path) + ": ";
  text += system_words(error) + " (" + system_name(error) + ")";
  if (!explanation.detail.empty()) text += ": " + explanation.detail;
  if (!explanation.remedy.empty()) text += "; " + explanation.remedy;
  return {explanation.code, std::move(text)};
}

}  // namespace pageserver::storage
