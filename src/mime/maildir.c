#include "mime/maildir.h"

#include "base/code.h"
#include "mime/mutf7.h"

enum { FOLDER_MAX = 240, DIGITS_MAX = 15 };

static const struct {
    char letter;
    enum maildir_flag flag;
} letters[] = {/* in the order of ASCII, as they have to stand */
               {'D', MAILDIR_DRAFT},    {'F', MAILDIR_FLAGGED}, {'P', MAILDIR_PASSED},
               {'R', MAILDIR_ANSWERED}, {'S', MAILDIR_SEEN},    {'T', MAILDIR_DELETED}};
enum { LETTERS = sizeof letters / sizeof *letters };

/* ---- files ---- */

/* The number at the front, 0 when it is none. */
static uint64_t number(str s) {
    uint64_t value = 0;
    size_t n = 0;
    while (n < s.n && char_is_digit(s.p[n]))
        n++;
    return n <= DIGITS_MAX && str_u64(str_head(s, n), &value) ? value : 0;
}

/* ":2,FS" at the end; where no colon may stand in a name, others have "!" or ";". */
static str cut_info(str *name) {
    static const str marks[] = {S_INIT(":2,"), S_INIT("!2,"), S_INIT(";2,")};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t at = str_find_str(*name, marks[i]);
        if (at == SIZE_MAX)
            continue;
        str info = str_tail(*name, at + marks[i].n);
        *name = str_head(*name, at);
        return info;
    }
    return STR_NONE;
}

bool maildir_name_read(str name, struct maildir_name *n) {
    *n = (struct maildir_name){0};
    if (name.n == 0 || name.p[0] == '.')
        return false;
    str info = cut_info(&name);
    for (size_t i = 0; i < info.n; i++)
        for (size_t k = 0; k < LETTERS; k++)
            if (info.p[i] == letters[k].letter)
                n->flags |= letters[k].flag;
    n->time_s = number(name);
    size_t at = str_find_str(name, S(",S="));
    n->size = at == SIZE_MAX ? 0 : number(str_tail(name, at + 3));
    return true;
}

void maildir_name_put(const struct maildir_name *n, str unique, str host, struct buf *out) {
    buf_printf(out, "%llu.%.*s.", (unsigned long long)n->time_s, STR_ARG(unique));
    for (size_t i = 0; i < host.n; i++)
        if (char_is_alnum(host.p[i]) || str_has(S("-_."), host.p[i]))
            buf_char(out, host.p[i]);
        else
            buf_printf(out, "\\%03o", (unsigned char)host.p[i]);
    if (n->size)
        buf_printf(out, ",S=%llu", (unsigned long long)n->size);
    buf_add(out, S(":2,"));
    for (size_t k = 0; k < LETTERS; k++)
        if (n->flags & letters[k].flag)
            buf_char(out, letters[k].letter);
}

/* ---- folders ---- */

/* A dot would begin a level of its own: it is coded, as what is not ASCII is. */
static bool put_level(str level, struct buf *out) {
    bool good = level.n > 0;
    str piece;
    for (size_t i = 0; i < level.n; i++)
        good = good && !char_is_ctl(level.p[i]);
    buf_char(out, '.');
    while (good && str_cut(&level, '.', &piece)) {
        good = mutf7_encode(piece, out);
        buf_add(out, S("&AC4-"));
    }
    return good && mutf7_encode(level, out);
}

bool maildir_folder_put(str folder, struct buf *out) {
    size_t before = out->n;
    str level;
    bool good = true, more = true;
    if (folder.n == 0 || str_ieq(folder, S("INBOX")))
        return true;
    while (good && more) {
        more = str_cut(&folder, '/', &level);
        good = put_level(more ? level : folder, out);
    }
    good = good && out->n - before <= FOLDER_MAX;
    if (!good)
        buf_shrink(out, before);
    return good;
}

bool maildir_folder_read(str directory, struct buf *out) {
    size_t before = out->n;
    if (directory.n == 0)
        return true;
    if (!str_skip_char(&directory, '.') || directory.n == 0 || directory.n > FOLDER_MAX)
        return false;
    str level;
    bool more = true, good = true;
    while (good && more) {
        more = str_cut(&directory, '.', &level);
        level = more ? level : directory;
        size_t at = out->n;
        /* Some write UTF-8 as it is. */
        if (utf8_is_ascii(level))
            good = mutf7_decode(level, out);
        else
            buf_add(out, level);
        good = good && out->n > at && !str_has(str_tail(buf_str(out), at), '/') && utf8_valid(level);
        if (more)
            buf_char(out, '/');
    }
    for (size_t i = before; i < out->n; i++)
        good = good && !char_is_ctl(out->p[i]);
    if (!good)
        buf_shrink(out, before);
    return good;
}

/* ---- messages ---- */

void maildir_message_read(str file, struct buf *out) {
    size_t at = str_find(file, '\n');
    str line;
    if (at == SIZE_MAX || (at > 0 && file.p[at - 1] == '\r')) {
        buf_add(out, file);
        return;
    }
    while (str_cut(&file, '\n', &line)) {
        buf_add(out, line);
        buf_add(out, str_ends(line, S("\r")) ? S("\n") : S("\r\n"));
    }
    buf_add(out, file);
}

/* No CR and no LF but in pairs. */
static bool is_paired(str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] == '\n') != (i > 0 && s.p[i - 1] == '\r'))
            return false;
    return !str_ends(s, S("\r"));
}

void maildir_message_put(str message, struct buf *out) {
    str line;
    if (!is_paired(message)) {
        buf_add(out, message);
        return;
    }
    while (str_cut(&message, '\n', &line)) {
        buf_add(out, str_head(line, line.n - 1));
        buf_char(out, '\n');
    }
    buf_add(out, message);
}
