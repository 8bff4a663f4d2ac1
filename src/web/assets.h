/* assets.h - the files of the web page, made by tools/embed: gzip'd bytes in the program. */
#ifndef WEB_ASSETS_H
#define WEB_ASSETS_H

#include "base/str.h"

struct asset {
    str path; /* "/app-1A2B3C4D.js"; the page itself is "/index.html" */
    const char *type;
    str etag;    /* with its quotes: of the uncompressed bytes */
    size_t size; /* uncompressed */
    str gzip;
};

extern const struct asset assets[];
extern const size_t asset_count;

#endif
