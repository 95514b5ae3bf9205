// libtiff can read pictures packed with JBIG, and the library it loads for that is under the GPL.
// What we distribute has this in its place: the same functions, which refuse. Such a picture is
// then reported by name, as every other damaged one is.
#include <cstddef>

extern "C" {

struct jbg_dec_state;
struct jbg_enc_state;

void jbg_dec_init(jbg_dec_state* /*state*/) {}
int jbg_dec_in(jbg_dec_state* /*state*/, unsigned char* /*data*/, std::size_t /*size*/,
               std::size_t* /*taken*/) {
  return 0x30;  // JBG_EABORT
}
unsigned char* jbg_dec_getimage(const jbg_dec_state* /*state*/, int /*plane*/) { return nullptr; }
unsigned long jbg_dec_getsize(const jbg_dec_state* /*state*/) { return 0; }
void jbg_dec_free(jbg_dec_state* /*state*/) {}
int jbg_newlen(unsigned char* /*data*/, std::size_t /*size*/) { return 0x30; }
const char* jbg_strerror(int /*error*/) { return "JBIG compression is not supported"; }

void jbg_enc_init(jbg_enc_state* /*state*/, unsigned long /*x*/, unsigned long /*y*/,
                  int /*planes*/, unsigned char** /*pictures*/,
                  void (* /*out*/)(unsigned char*, std::size_t, void*), void* /*file*/) {}
void jbg_enc_out(jbg_enc_state* /*state*/) {}
void jbg_enc_free(jbg_enc_state* /*state*/) {}
}
