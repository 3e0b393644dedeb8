#include "storage/file/modules.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <new>

#include "base/mutex.hpp"
#include "storage/file/block_images.hpp"
#include "storage/file/home_module.hpp"

namespace pageserver::storage {
namespace {

/// Beside the program, as it lies in a build tree and in an installation that was moved; then where it is installed.
std::array<std::string, 2> module_paths(const std::string& name) {
  std::array<char, PATH_MAX> program{};
  const ssize_t length = ::readlink("/proc/self/exe", program.data(), program.size() - 1);
  std::string beside{program.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
  beside.erase(std::min(beside.rfind('/'), beside.size()));
  return {beside + "/../lib/pageserver/" + name, std::string{PAGESERVER_MODULE_FOLDER} + "/" + name};
}

}  // namespace

IoResult load_module(const std::string& name, const char* symbol, bool (*use)(void* symbol, void* context),
                     void* context) {
  IoResult result{-1, ELIBACC};
  for (const std::string& path : module_paths(name)) {
    if (::access(path.c_str(), R_OK) != 0) continue;
    result.error = ELIBBAD;
    void* const module = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) continue;
    void* const found = ::dlsym(module, symbol);
    if (found != nullptr && use(found, context)) return {};
    ::dlclose(module);
  }
  return result;
}

IoResult load_block_images(BlockImages*& images) {
  static Mutex mutex;
  static BlockImages* loaded = nullptr;
  try {
    const Lock lock{mutex};
    if (loaded == nullptr) {
      const auto use = [](void* symbol, void* context) {
        auto*& made = *static_cast<BlockImages**>(context);
        made = reinterpret_cast<BlockModule>(symbol)(home_interface);
        return made != nullptr;
      };
      if (const IoResult result = load_module("pageserver-rbd.so", "pageserver_block_module", use, &loaded);
          !result.ok())
        return result;
    }
    images = loaded;
    return {};
  } catch (const std::bad_alloc&) {
    return {-1, ENOMEM};
  }
}

}  // namespace pageserver::storage
