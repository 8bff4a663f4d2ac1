/* fields.h - named values in a row, "quota" "1000" "name" "Ada": how entries of the directory and filters travel and
 * are kept.  Pure.  Coded as pairs of u32 length and bytes; a name stands once. */
#ifndef BASE_FIELDS_H
#define BASE_FIELDS_H

#include "base/buf.h"
#include "base/err.h"

void fields_put(struct buf *out, str name, str value);
/* The next pair off the front of *s; false at the end, or where they are damaged (then *s is not empty). */
bool fields_take(str *s, str *name, str *value) MUST_CHECK;
bool fields_valid(str s);
str fields_get(str s, str name);               /* empty when absent */
bool fields_find(str s, str name, str *value); /* false: absent */
/* What `changes` names replaces what `old` has; an empty value removes. */
void fields_merge(struct buf *out, str old, str changes);

#endif
