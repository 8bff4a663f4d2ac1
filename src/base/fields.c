#include "base/fields.h"

void fields_put(struct buf *out, str name, str value) {
    buf_lstr(out, name);
    buf_lstr(out, value);
}

bool fields_take(str *s, str *name, str *value) {
    str rest = *s;
    if (!take_lstr(&rest, name) || !take_lstr(&rest, value))
        return false;
    *s = rest;
    return true;
}

bool fields_valid(str s) {
    str name, value, seen = s;
    for (str rest = s; rest.n;) {
        str before = str_head(seen, seen.n - rest.n), old;
        if (!fields_take(&rest, &name, &value) || name.n == 0 || fields_find(before, name, &old))
            return false;
    }
    return true;
}

bool fields_find(str s, str name, str *value) {
    for (str n; fields_take(&s, &n, value);)
        if (str_eq(n, name))
            return true;
    *value = STR_NONE;
    return false;
}

str fields_get(str s, str name) {
    str value;
    (void)fields_find(s, name, &value);
    return value;
}

void fields_merge(struct buf *out, str old, str changes) {
    str name, value, other;
    for (str rest = old; fields_take(&rest, &name, &value);)
        if (!fields_find(changes, name, &other))
            fields_put(out, name, value);
    for (str rest = changes; fields_take(&rest, &name, &value);)
        if (value.n)
            fields_put(out, name, value);
}
