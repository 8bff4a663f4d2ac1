#include "cli/sendmail_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/code.h"
#include "sys/clock.h"

enum { SPOOL_TEXT_MAX = 1 << 30 };

/* ---- the commands ---- */

static void put_path(const char *command, str address, str params, struct buf *out) {
    buf_printf(out, "%s:<%.*s>", command, STR_ARG(address));
    if (params.n)
        buf_printf(out, " %.*s", STR_ARG(params));
    buf_add(out, S("\r\n"));
}

static void put_message(str message, struct buf *out) {
    str line;
    while (str_line(&message, &line)) {
        if (str_starts(line, S(".")))
            buf_char(out, '.');
        buf_add(out, line);
        buf_add(out, S("\r\n"));
    }
    buf_add(out, S(".\r\n"));
}

/* What needs SMTPUTF8 says so; the server that reads it offers it, and 8BITMIME. */
static bool needs_utf8(const struct sendmail_mail *m) {
    bool ascii = utf8_is_ascii(m->sender);
    for (size_t i = 0; i < m->rcpt_count; i++)
        ascii = ascii && utf8_is_ascii(m->rcpts[i]);
    return !ascii;
}

void sendmail_spool_text(const struct sendmail_mail *m, struct buf *out) {
    struct buf params = BUF(4096);
    buf_add(&params, m->params);
    if (!utf8_is_ascii(m->message))
        buf_add(&params, params.n ? S(" BODY=8BITMIME") : S("BODY=8BITMIME"));
    if (needs_utf8(m))
        buf_add(&params, params.n ? S(" SMTPUTF8") : S("SMTPUTF8"));
    buf_printf(out, "EHLO %.*s\r\n", STR_ARG(m->helo));
    put_path("MAIL FROM", m->sender, buf_str(&params), out);
    for (size_t i = 0; i < m->rcpt_count; i++)
        put_path("RCPT TO", m->rcpts[i], m->rcpt_params, out);
    buf_add(out, S("DATA\r\n"));
    put_message(m->message, out);
    buf_add(out, S("QUIT\r\n"));
    buf_free(&params);
}

/* ---- the file ---- */

static bool write_all(int fd, str s) {
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            s = str_tail(s, (size_t)n);
    }
    return true;
}

/* The new name is stable, too.  Who may not list the directory cannot open it, and syncs its whole filesystem. */
static bool sync_name(const char *directory, int fd) {
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return syncfs(fd) == 0;
    bool synced = fsync(dir) == 0;
    close(dir);
    return synced;
}

static enum err write_file(const char *directory, const char *temporary, const char *name, int fd, str text,
                           struct why *w) {
    if (!write_all(fd, text) || fsync(fd) != 0)
        return why(w, ERR_IO, "%s: %s", temporary, strerror(errno));
    if (rename(temporary, name) != 0)
        return why(w, ERR_IO, "%s: %s", name, strerror(errno));
    if (sync_name(directory, fd))
        return OK;
    enum err e = why(w, ERR_IO, "%s: %s", directory, strerror(errno));
    (void)unlink(name);
    return e;
}

enum err sendmail_spool_write(const char *directory, const struct sendmail_mail *mail, struct why *w) {
    uint8_t random[16];
    char id[ID_SIZE], temporary[PATH_MAX], name[PATH_MAX];
    struct buf text = BUF(SPOOL_TEXT_MAX);
    random_bytes(random, sizeof random);
    id_encode(random, id);
    snprintf(temporary, sizeof temporary, "%s/%.*s.tmp", directory, ID_SIZE, id);
    if (snprintf(name, sizeof name, "%s/%.*s.smtp", directory, ID_SIZE, id) >= (int)sizeof name)
        return why(w, ERR_LIMIT, "the name of the spool directory is too long");
    sendmail_spool_text(mail, &text);
    if (text.full) {
        buf_free(&text);
        return why(w, ERR_LIMIT, "the message is too large for the spool");
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    enum err e = fd < 0 ? why(w, ERR_IO, "%s: %s", directory, strerror(errno))
                        : write_file(directory, temporary, name, fd, buf_str(&text), w);
    if (fd >= 0 && close(fd) != 0 && e == OK) {
        e = why(w, ERR_IO, "%s: %s", name, strerror(errno));
        (void)unlink(name);
    }
    if (e != OK && fd >= 0)
        (void)unlink(temporary);
    buf_free(&text);
    return e;
}
