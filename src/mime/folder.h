/* folder.h - names of folders, as Penfold keeps them: UTF-8, their levels apart by '/' ("Archive/2026").  Pure. */
#ifndef MIME_FOLDER_H
#define MIME_FOLDER_H

#include "base/str.h"

enum { FOLDER_NAME_MAX = 255 };

/* May a folder be called so?  No controls, no empty level, not too long. */
bool folder_name_valid(str name);

#endif
