// Under the leak sanitizer only. Fontconfig, which Cairo finds its fonts with, keeps a few hundred bytes for
// the life of the process; they do not grow with the number of pictures. Nothing of kvlab's is covered by
// this.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libfontconfig\n";
}
