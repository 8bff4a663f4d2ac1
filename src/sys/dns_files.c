#include "sys/dns_files.h"

#include "sys/whole.h"

static const char root_key[] = "/usr/share/dns/root.key"; /* Debian's dns-root-data */
static const char root_hints[] = "/usr/share/dns/root.hints";
static const char resolv_conf[] = "/etc/resolv.conf";

const char *dns_file_secret(enum dns_file f) {
    static const char *const names[DNS_FILES] = {"dns.anchor", "dns.hints", "dns.servers"};
    return names[f];
}

static enum err read_if_there(const char *path, struct buf *out, struct why *w) {
    enum err e = whole_read_file(path, DNS_FILE_MAX, out, w);
    return e == ERR_NOT_FOUND ? OK : e;
}

enum err dns_file_read(enum dns_file f, const struct conf *c, struct buf *out, struct why *w) {
    bool none = str_eq(c->dns_anchor, S("none"));
    switch (f) {
    case DNS_FILE_ANCHOR:
        if (none)
            return OK;
        return c->dns_anchor.n ? whole_read_file(c->dns_anchor.p, DNS_FILE_MAX, out, w)
                               : read_if_there(root_key, out, w);
    case DNS_FILE_HINTS: return c->dns.n ? OK : read_if_there(root_hints, out, w);
    default: return str_eq(c->dns, S("system")) ? whole_read_file(resolv_conf, DNS_FILE_MAX, out, w) : OK;
    }
}
