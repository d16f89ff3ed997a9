/* What the library says about itself. */
#include "pages.h"

extern const char vgpu_header_text[] __attribute__((visibility("hidden")));

VGPU_API const char *vgpu_region_declarations(void) { return vgpu_header_text; }

VGPU_API const char *vgpu_version(void) { return "0.1.0"; }
