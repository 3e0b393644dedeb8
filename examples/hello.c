/* The same few lines in C: hello [URI] */
#include <pageserver/pageserver.h>
#include <stdio.h>

static int say_hello(const char* uri, ps_error* error) {
  char greeting[] = "hello";
  uint64_t pages = 0;
  ps_session* memory = NULL;
  int code = ps_session_open(uri, NULL, &memory, error);
  if (code == PS_OK) code = ps_session_pages(memory, &pages, error);
  if (code == PS_OK && pages == 0) code = ps_session_grow(memory, 16, NULL, error);
  if (code == PS_OK) code = ps_session_write(memory, 70000, greeting, sizeof greeting, error);
  if (code == PS_OK) code = ps_session_flush(memory, error); /* on disk when this returns */
  if (code == PS_OK) code = ps_session_read(memory, 70000, greeting, sizeof greeting, error);
  if (code == PS_OK) code = ps_session_pages(memory, &pages, error);
  if (code == PS_OK) printf("%s from %lu pages\n", greeting, (unsigned long)pages);
  ps_session_close(memory);
  return code;
}

int main(int argc, char** argv) {
  ps_error error = PS_ERROR_INIT;
  if (say_hello(argc > 1 ? argv[1] : "pageserver://127.0.0.1/demo", &error) == PS_OK) return 0;
  fprintf(stderr, "%s: %s\n", ps_code_name(error.code), error.text);
  return 1;
}
