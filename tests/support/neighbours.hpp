// What people may have beside an image under names that are nearly those of a store's own files.
#pragma once

#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace pageserver::test {

/// Names that no store makes beside the image of this name, around each form of name that it makes.
inline std::vector<std::string> neighbours_of(const std::string& image) {
  std::vector<std::string> names{image + ".log", image + "x.log.0000000001", "x" + image + ".log.0000000001",
                                 image + ".other", "." + image + ".pagectl-1-2.tmp"};
  const auto upper = [](std::string text) {
    for (char& letter : text) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    return text;
  };
  for (const std::string word : {".log.", ".spare.", ".spill.", ".removed.", ".resume."}) {
    for (const char* end : {"",
                            "1",
                            "txt",
                            "monday",
                            "size",
                            "000000001",
                            "00000000001",
                            "10000000001",
                            "20261127093000",
                            "0000000001x",
                            "0000000001 ",
                            "0000000001.bak",
                            "0000000001.gz",
                            "0000000001.img",
                            "0000000001~",
                            "000000000x",
                            "-000000001",
                            "+000000001",
                            " 000000001",
                            "0x00000001",
                            "0000000001.0000000001"})
      names.push_back(image + word + end);
    names.push_back(upper(image) + word + "0000000001");
    names.push_back(image + upper(word) + "0000000001");
    names.push_back(image + word.substr(1) + "0000000001");
    names.push_back(image + "." + word + "0000000001");
    names.push_back(word.substr(1) + "0000000001");
  }
  for (const char* end : {".log.0000000000", ".spare.0000000000", ".removed.0000000000", ".removed.0000000002",
                          ".resume.0000000000", ".resume.0000000002"})
    names.push_back(image + end);
  return names;
}

/// Files with something in them, which must stay as they are.
class KeptFiles {
public:
  KeptFiles(std::filesystem::path folder, std::vector<std::string> names)
      : folder_{std::move(folder)}, names_{std::move(names)} {
    for (const auto& name : names_) std::ofstream{folder_ / name} << content(name);
  }
  const std::vector<std::string>& names() const { return names_; }
  /// The first that is not as it was; empty when all are.
  std::string changed() const {
    for (const auto& name : names_) {
      std::ifstream file{folder_ / name};
      const std::string found{std::istreambuf_iterator<char>{file}, {}};
      if (!std::filesystem::is_regular_file(folder_ / name) || found != content(name)) return name;
    }
    return {};
  }

private:
  static std::string content(const std::string& name) { return "precious: " + name; }

  std::filesystem::path folder_;
  std::vector<std::string> names_;
};

}  // namespace pageserver::test
