#include "tests/soak/stores.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace pageserver::test::soak {

namespace fs = std::filesystem;

std::vector<fs::path> SoakStore::siblings(const std::string& word) const {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    for (const std::string form : {".log.", ".spare.", ".spill.", ".removed.", ".resume."}) {
      if (!word.empty() && form != "." + word + ".") continue;
      if (!name.starts_with(file_name() + form)) continue;
      const std::string digits = name.substr(file_name().size() + form.size());
      const bool number = digits.size() == 10 && digits != "0000000000" &&
                          std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
      const bool one = form == ".removed." || form == ".resume.";
      if (number && !(one && digits == "0000000002")) found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Image SoakStore::read() const {
  std::ifstream in(image(), std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  std::string fault;
  Image found = image_of(std::as_bytes(std::span(bytes)), fault);
  if (!fault.empty()) throw Violation(image().string() + ": " + fault);
  return found;
}

std::uint64_t SoakStore::bytes() const {
  std::uint64_t all = fs::exists(image()) ? fs::file_size(image()) : 0;
  for (const auto& path : siblings()) all += fs::file_size(path);
  return all;
}

void copy_bytes(const fs::path& from, const fs::path& to) {
  std::ifstream in(from, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  std::ofstream out(to, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!in || !out) throw std::runtime_error("copying " + from.string() + " to " + to.string() + " failed");
}

}  // namespace pageserver::test::soak
