#include "mime/folder.h"

#include "base/code.h"

bool folder_name_valid(str name) {
    char last = '/';
    if (name.n == 0 || name.n > FOLDER_NAME_MAX || !utf8_valid(name))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (char_is_ctl(name.p[i]) || (name.p[i] == '/' && last == '/'))
            return false;
        last = name.p[i];
    }
    return last != '/';
}
