// Owns the precompiled header of the tests and is nothing else.
int main() {}
