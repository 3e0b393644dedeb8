#include "tests/support/catch.hpp"

#include <string>
#include <vector>

#include "base/secrets.hpp"

using namespace pageserver::base;

TEST_CASE("a token, a private key and a password are taken out of a text, and nothing else") {
  const std::string token = "pgt_" + std::string(64, 'a');
  CHECK(without_secrets("open \"" + token + "\": no such file") == "open \"pgt_...\": no such file");
  CHECK(without_secrets(token + "," + token + "-x") == "pgt_...,pgt_...-x");
  CHECK(without_secrets("pgt_0aZ9xyzw") == "pgt_...");
  CHECK(without_secrets("a -----BEGIN EC PRIVATE KEY-----\nMHcC\nAA==\n-----END EC PRIVATE KEY-----\nb") ==
        "a -----BEGIN EC PRIVATE KEY-----...-----END EC PRIVATE KEY-----\nb");
  CHECK(without_secrets("-----BEGIN PRIVATE KEY-----\\nMHcC\\n") == "-----BEGIN PRIVATE KEY-----...");
  CHECK(without_secrets("k=%2D%2D%2D%2D%2DBEGIN%20PRIVATE%20KEY%2d%2D%2D%2D-%0AMHcC%0A%2D%2D%2D%2D%2DEND&x=1") ==
        "k=%2D%2D%2D%2D%2DBEGIN%20PRIVATE%20KEY%2d%2D%2D%2D-...%2D%2D%2D%2D%2DEND&x=1");
  CHECK(without_secrets("pageserver://ci:hunter2@db/x?access=read") == "pageserver://...@db/x?access=read");
  CHECK(without_secrets("pageserver://a@b:c@db \"x@y\"") == "pageserver://...@db \"x@y\"");
  CHECK(without_secrets("x?password=hunter2&token=abc#f &secret=&key=1\"&tokn=a&access_token=b") ==
        "x?password=...&token=...#f &secret=&key=...\"&tokn=...&access_token=...");
}

TEST_CASE("what only looks a little like a secret stays as it is") {
  for (const std::string text :
       {"", "pgt_", "pgt_short", "pgt_wrong", "sha256:0123456789abcdef", "-----BEGIN CERTIFICATE-----\nMIIB",
        "-----BEGIN PRIVATE KEY-----", "pageserver://db/x?tls_key=/k.pem&token_file=/t&name=a@b",
        "http://db/?to=a@b.example", "://", "?", "&", "?token", "?token=", "https://@db/", "token=abc", "pgt",
        "KEY-----x", "BEGIN KEY--x"}) {
    INFO(text);
    CHECK_FALSE(has_secret(text));
    CHECK(without_secrets(text) == text);
  }
}

TEST_CASE("what is hidden once stays as it is, and text without an end is read to its end") {
  for (const std::string text : {"pgt_aaaaaaaaaaaa", "x?token=abc", "pageserver://u:p@h", "BEGIN KEY-----MHcC"}) {
    const std::string once = without_secrets(text);
    CHECK(once.find("...") != std::string::npos);
    CHECK(without_secrets(once).find("aaaa") == std::string::npos);
  }
}

TEST_CASE("the words of a process keep their number and length, with stars for secrets") {
  std::vector<std::string> words{"pagectl", "info", "pageserver://h/x?token=abc&name=pgt_0123456789", "pgt_aaaaaaaa"};
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  hide_secrets(static_cast<int>(pointers.size()), pointers.data());
  CHECK(words ==
        std::vector<std::string>{"pagectl", "info", "pageserver://h/x?token=***&name=pgt_**********", "pgt_********"});
  hide_secrets(0, nullptr);
}
