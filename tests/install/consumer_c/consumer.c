/* What a user writes first, in the C of 1989. */
#include <pageserver/pageserver.h>
#include <stdio.h>

int main(int argc, char** argv) {
  ps_error error = PS_ERROR_INIT;
  ps_session* session = NULL;
  char bytes[4] = {1, 2, 3, 4};
  if (argc != 2) return 2;
  if (ps_session_open(argv[1], NULL, &session, &error) != PS_OK || ps_session_grow(session, 1, NULL, &error) != PS_OK ||
      ps_session_write(session, 70, bytes, sizeof bytes, &error) != PS_OK ||
      ps_session_flush(session, &error) != PS_OK) {
    fprintf(stderr, "%s\n", error.text);
    ps_session_close(session);
    return 1;
  }
  if (ps_session_read(session, 70000, bytes, sizeof bytes, &error) == PS_OK) return 1;
  printf("%s: %s\n", ps_code_name(error.code), error.text);
  ps_session_close(session);
  return 0;
}
